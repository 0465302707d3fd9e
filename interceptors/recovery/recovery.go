// Package recovery keeps a panic in a handler from ending the process.
//
// The caller gets codes.Internal and a message that tells nothing of the
// server's inside; the log gets the method, the panic and its stack. Put it
// after (inside) the interceptors that count and log, so that they see the
// status, and before (outside) all others, so that their panics are caught,
// too; package interceptors does.
//
//	srv := grpc.NewServer(
//		grpc.ChainUnaryInterceptor(recovery.UnaryServerInterceptor(logger)),
//		grpc.ChainStreamInterceptor(recovery.StreamServerInterceptor(logger)),
//	)
//
// What it cannot catch: a panic in a goroutine that a handler started (recover
// there), and the runtime's fatal errors, such as concurrent map writes.
//
// There is no interceptor for clients. A panic inside a call is one of a codec
// or of another interceptor, on the caller's own goroutine: the caller can
// recover it like any other of its panics, and an error in its place would
// only hide a bug of this process behind what looks like a failure of the
// other.
package recovery

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// UnaryServerInterceptor turns a panic in what comes after it into
// codes.Internal, and logs it at Error. A nil logger is slog.Default().
func UnaryServerInterceptor(logger *slog.Logger) grpc.UnaryServerInterceptor {
	return recovery.UnaryServerInterceptor(toStatus(logger))
}

// StreamServerInterceptor is UnaryServerInterceptor for streams. What the
// handler has sent before it panicked reaches the client first.
func StreamServerInterceptor(logger *slog.Logger) grpc.StreamServerInterceptor {
	return recovery.StreamServerInterceptor(toStatus(logger))
}

// toStatus is needed because go-grpc-middleware's default error holds the
// stack, and grpc sends an error's text to the client. The panic's value stays
// here as well: it may quote what the client must not see.
func toStatus(logger *slog.Logger) recovery.Option {
	if logger == nil {
		logger = slog.Default()
	}
	return recovery.WithRecoveryHandlerContext(func(ctx context.Context, p any) error {
		method, _ := grpc.Method(ctx)
		call := interceptors.NewServerCallMeta(method, nil, nil)
		logger.ErrorContext(ctx, "grpc: handler panicked",
			"grpc.service", call.Service, "grpc.method", call.Method,
			"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "the handler of "+method+" panicked; the server's log says where")
	})
}
