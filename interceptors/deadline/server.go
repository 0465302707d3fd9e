package deadline

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// UnaryServerInterceptor answers calls whose deadline has passed (or that were
// cancelled) before their handler began, and ends the context of calls that
// came without a deadline after limit. A limit of zero or less, the usual
// choice, means none.
//
// A handler notices the limit only through its context; one that returns the
// context's error is answered as codes.DeadlineExceeded. A handler that does
// not look keeps its caller waiting.
func UnaryServerInterceptor(limit time.Duration) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if err := ctx.Err(); err != nil {
			return nil, late(err)
		}
		if _, ok := ctx.Deadline(); ok || limit <= 0 {
			return handler(ctx, req)
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return handler(ctx, req)
	}
}

// StreamServerInterceptor answers streams whose deadline has passed (or that
// were cancelled) before their handler began. It sets no limit.
func StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if err := stream.Context().Err(); err != nil {
			return late(err)
		}
		return handler(srv, stream)
	}
}

func late(err error) error {
	s := status.FromContextError(err)
	return status.Error(s.Code(), "the call was over before its handler began: "+err.Error())
}
