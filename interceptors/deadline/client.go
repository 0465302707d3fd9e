package deadline

import (
	"context"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/timeout"
	"google.golang.org/grpc"
)

// UnaryClientInterceptor gives calls whose context has no deadline d from now;
// they fail with codes.DeadlineExceeded. A call that has one costs nothing. A d
// of zero or less leaves all calls as they are.
//
// There is no such interceptor for streams, on purpose.
func UnaryClientInterceptor(d time.Duration) grpc.UnaryClientInterceptor {
	withTimeout := timeout.UnaryClientInterceptor(d)
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ok := ctx.Deadline(); ok || d <= 0 {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		return withTimeout(ctx, method, req, reply, cc, invoke, opts...)
	}
}
