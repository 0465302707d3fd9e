// Package logging writes calls to slog, on servers and on clients.
//
// By default it logs the calls that failed, each with one line when it ends,
// and says nothing of the others:
//
//	srv := grpc.NewServer(
//		grpc.ChainUnaryInterceptor(logging.UnaryServerInterceptor(logger)),
//		grpc.ChainStreamInterceptor(logging.StreamServerInterceptor(logger)),
//	)
//
// A line has these attributes:
//
//	grpc.component  "server" or "client"
//	grpc.service    the full name, such as "greeter.v1.Greeter"
//	grpc.method     such as "SayHello"
//	grpc.code       such as "NotFound"
//	duration        from the interceptor's begin to the call's end
//	peer            the other side's address; see [WithPeer] for unary calls of clients
//	target          on clients, what the connection was made for
//	error           what was returned, if the call failed
//
// The level tells whose fault it was. On a server the codes that OpenTelemetry
// counts as the server's (Unknown, DeadlineExceeded, Unimplemented, Internal,
// Unavailable, DataLoss) are Error. A client logs the same codes at Warn, for
// its caller has the error and may yet recover. Canceled is Debug, since the
// caller went away, and all else is Info. [WithLevels] has it otherwise.
//
// A call that is not logged costs one or two readings of the clock and no
// allocation; a client's stream three small ones when it is opened. Messages
// pass untouched.
package logging
