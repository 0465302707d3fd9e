// Package deadline sees to it that no unary call can hang for ever, and that
// no server works for a caller who has given up.
//
// On a client, [UnaryClientInterceptor] gives the calls without a deadline one:
//
//	conn, err := grpc.NewClient(target,
//		grpc.WithChainUnaryInterceptor(deadline.UnaryClientInterceptor(5*time.Second)), …)
//
// A deadline in the call's context stands, however long; so one call gets more
// time by context.WithTimeout. A method's timeout in the service config
// (protoc-gen-micro writes it there from the proto) can only shorten: grpc
// takes the earlier of the two.
//
// On a server, [UnaryServerInterceptor] and [StreamServerInterceptor] answer
// DeadlineExceeded at once, without the handler, when a call arrives too late
// to be of use, as happens behind a queue. The former can also bound calls that
// come without any deadline. Neither ever shortens what a client asked for.
//
// Streams get no deadline from here, on neither side: how long one lives is
// what it is for. A client's stream ends with its context, and a server's with
// grpc's keepalive or MaxConnectionAge.
package deadline
