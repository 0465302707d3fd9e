// Package micro runs grpc services that find each other.
//
// A Service is a grpc server with everything around it: it listens, serves
// health and reflection, announces itself in a registry, runs tasks such as
// subscriptions, and stops so that no call fails and no event is lost. A
// client is a plain *grpc.ClientConn whose resolver is the registry and whose
// balancer picks among the instances. In between is gRPC, and nothing else:
// stock stubs, interceptors, options and tools work unchanged.
//
//	reg, err := resolver.Open("etcd://127.0.0.1:2379")
//	…
//	svc := micro.New("greeter", micro.WithRegistry(reg), micro.WithVersion("v1"))
//	greeterv1.RegisterGreeterServer(svc, &greeter{})
//	err = svc.Run(ctx)
//
// and elsewhere
//
//	conn, err := micro.NewClient("greeter", reg, micro.Insecure())
//	…
//	reply, err := greeterv1.NewGreeterClient(conn).SayHello(ctx, req)
//
// protoc-gen-micro writes both sides' first lines: NewGreeterService,
// NewGreeterClient, and a typed topic for each event.
//
// # What stands alone
//
// Each part is of use without this package: resolver.NewBuilder with any
// grpc.NewClient, the policies of package balancer with any resolver, the
// topics of package pubsub in any program.
//
// # On one host
//
// Clients on the host of a service, or in its process, talk to it over a unix
// socket by themselves, and over TCP when that does not answer. Nothing is to be
// configured for it; WithLocalSocket says what it means and switches it off.
//
// # Memory
//
// A process that runs a Service or has a client of NewClient lets 8 MiB be
// allocated, instead of 4, before it collects garbage: that makes up for what
// interceptors and deadlines cost, and takes at most 8 MiB. Where GOGC or
// GOMEMLIMIT is set, it stays out of it. TuneRuntime goes further.
//
// # A Function
//
// A Function (NewFunction) is a Service that serves one call or one event and
// then ends. What else reaches it meanwhile is refused before its handler, and
// clients of NewClient send it to another instance.
package micro
