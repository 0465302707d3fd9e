// Package resolver is the registry: where instances of services announce
// themselves, and where grpc clients find them.
//
// A registry is opened by URL. memory://name is in this process and always
// there; others are drivers that one imports:
//
//	import _ "github.com/grpc-micro/micro/resolver/etcd"
//
//	reg, err := resolver.Open("etcd://10.0.0.1:2379,10.0.0.2:2379")
//	defer reg.Close()
//
// A server announces itself. The [Announcer] registers the instance and keeps
// it registered: when the lease is lost, or the registry is away for an hour,
// it goes on until the instance is back. It withdraws when its context ends.
//
//	a := resolver.NewAnnouncer(reg, &resolver.Instance{
//		ID: "greeter-1", Service: "greeter", Addrs: []string{"10.0.0.7:8080"},
//	})
//	err := a.Run(ctx)
//
// Before it stops, a server says that it drains: clients give it no new call,
// and keep their connections.
//
//	err := a.Update(ctx, func(i *resolver.Instance) { i.Draining = true })
//
// A client is a plain grpc.ClientConn with [NewBuilder] as its resolver and any
// of grpc's balancers:
//
//	conn, err := grpc.NewClient("micro:///greeter",
//		grpc.WithResolvers(resolver.NewBuilder(reg)),
//		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
//		grpc.WithTransportCredentials(creds))
//
// All connections of a process share one watch a service. While the registry
// is away they go on with the instances last known: an outage stops changes,
// not traffic. A service without instances fails its calls at once, with the
// reason.
//
// After an outage the registry may know less than its clients do, because it was
// wiped, or because leases ended that nobody could renew: for a while they do not
// believe it ([WithGrace]). And with [WithSnapshots] a client can start while the
// registry is away, from what an earlier one knew.
//
// Nothing of this is silent: [Watches] and [Announcer.State] have the state of
// each client and server, for metrics and health, and each change of it is a line
// in the log.
//
// A server with a second listener from [ListenLocal] is dialled by its unix socket
// from its own host, and by its addresses from everywhere else. Services of
// package micro have one.
//
// Each instance travels in the attributes of its grpc endpoint, where balancers
// find it with [InstanceOf].
//
// A driver implements [Registry], calls [RegisterScheme] in its init, and
// passes the suite in package resolvertest. Drivers are thin: what is to be
// done about failures is done here, once.
package resolver
