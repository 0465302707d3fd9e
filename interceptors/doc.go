// Package interceptors has one call that gives a server or a client the
// interceptors it should not be without, in the order that makes them work
// together:
//
//	srv := grpc.NewServer(interceptors.Server()...)
//	conn, err := grpc.NewClient(target, append(interceptors.Client(), creds)...)
//
// and, in a micro service,
//
//	svc := micro.New("greeter", micro.WithServerOptions(interceptors.Server()...))
//
// Each interceptor is a package of its own below this one, unary and stream in
// pairs, and works alone with any grpc server or client. They chain: own
// interceptors given after these run inside them, and those given before, or
// by grpc.UnaryInterceptor, outside.
//
// Metrics and traces are not in the chain, because they need Prometheus and
// OpenTelemetry. They go outside of it, by [WithServer] and [WithClient], traces
// outermost:
//
//	calls := rpcmetrics.NewServer()
//	prometheus.MustRegister(calls)
//	srv := grpc.NewServer(interceptors.Server(
//		interceptors.WithServer(tracing.UnaryServerInterceptor(traces...), tracing.StreamServerInterceptor(traces...)),
//		interceptors.WithServer(calls.UnaryServerInterceptor(), calls.StreamServerInterceptor()),
//	)...)
//
// On a server, from the outside in:
//
//   - what [WithServer] adds;
//   - logging, outermost, so that it sees what the client gets: a panic as the
//     Internal it became, a late call as DeadlineExceeded;
//   - recovery, outside of everything that may panic: all interceptors that
//     come after, and the handler;
//   - deadline, which turns away the calls that nobody waits for any more;
//   - yours, and the handler.
//
// On a client:
//
//   - what [WithClient] adds;
//   - logging, outermost, so that its durations are the caller's;
//   - deadline, if [WithTimeout] asks for it;
//   - yours, and the wire.
//
// No timeout is set unless asked for, and never on a stream.
//
// The whole chain costs a unary call one object on a client and two on a server,
// which grpc makes for any interceptor; with metrics no more, and with traces that
// are not sampled those of package tracing.
package interceptors
