// Package tracing traces calls and events by OpenTelemetry's API, for whatever
// provider of it the program has.
//
//	traces := []tracing.Option{
//		tracing.WithTracerProvider(provider), // of go.opentelemetry.io/otel/sdk/trace, say
//		tracing.WithPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})),
//	}
//	server := interceptors.Server(interceptors.WithServer(tracing.UnaryServerInterceptor(traces...), tracing.StreamServerInterceptor(traces...)))
//	client := interceptors.Client(interceptors.WithClient(tracing.UnaryClientInterceptor(traces...), tracing.StreamClientInterceptor(traces...)))
//	publisher := tracing.Publisher(broker, traces...)
//	pubsub.WithMiddleware(tracing.Middleware(traces...))
//
// Without options it is OpenTelemetry's global provider and propagator, which do
// nothing until the program sets them.
//
// # Spans
//
// They are named, and described, as otelgrpc's are, so the two go together, one on
// either side: "greeter.v1.Greeter/SayHello", with rpc.method (the same),
// rpc.system.name, rpc.response.status_code, server.address and server.port, and
// beside these of the stable semantic conventions rpc.system, rpc.service and
// rpc.grpc.status_code of those before. A client's span is an error for any code
// but OK, a server's for those that are the server's fault. An event's spans are
// "send orders.placed" and "process orders.placed". Attributes are added after
// the start, and only to spans that are recorded, so a sampler sees the name and
// the kind.
//
// # Cost
//
// Most calls are not sampled, and those are what this package is made for. Such
// a call pays for its span context, which has to travel so that nobody behind
// samples it again, and for nothing else: 7 objects in a client and 5 on a server,
// and grpc two to read one more header. With otelgrpc it is 85 in all. What a sampled one adds is OpenTelemetry's.
//
// It is no stats.Handler, as otelgrpc is, because grpc makes 15 objects a call in
// a client and 17 on a server for one that does nothing. So what grpc answers
// before any interceptor has no span: calls of methods that are not there, and of
// messages that it cannot decode.
package tracing
