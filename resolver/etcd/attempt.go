package etcd

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// lastAttempt is why the last attempt of a call failed. etcd's client tries again
// until the deadline and then returns that this has passed, which does not tell a
// wrong certificate from an etcd that is away.
type lastAttempt struct{ err atomic.Pointer[error] }

type lastAttemptKey struct{}

// in returns a context whose call is noted here.
func (a *lastAttempt) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, lastAttemptKey{}, a)
}

// explain adds to err what is known beyond it.
func (a *lastAttempt) explain(err error) error {
	if last := a.err.Load(); last != nil {
		if text := status.Convert(*last).Message(); !strings.Contains(err.Error(), text) {
			return fmt.Errorf("%w; last attempt: %s", err, text)
		}
	}
	return err
}

// noteAttempts is for clients that open makes: an interceptor inside of the one
// that tries again.
func noteAttempts(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if a, ok := ctx.Value(lastAttemptKey{}).(*lastAttempt); ok && err != nil {
		a.err.Store(&err)
	}
	return err
}
