package micro

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/balancer"
)

const (
	maxResends      = 5
	refusedReason   = "REFUSED"
	refusedDomain   = "micro"
	refusedInstance = "instance"
)

// resendUnary sends a call that a Function refused to another instance. It
// costs a call that is not refused nothing but the look at its error.
func resendUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	for n := 0; ; n++ {
		err := invoke(ctx, method, req, reply, cc, opts...)
		id, refused := refusedBy(err)
		if !refused || !mayResend(ctx, n, opts) {
			return err
		}
		ctx = balancer.WithAvoid(ctx, id) //nolint:fatcontext // at most maxResends deep, or as deep as the caller waits
	}
}

// mayResend reports whether a call that was sent n times again may be sent once
// more, and waits before it says so: not at all at first, for there are other
// instances, then about 4 ms, 16, 64 and 256, for all that are known may have
// their call, and new ones are on the way. Calls that wait for ready wait like
// that until their context ends.
func mayResend(ctx context.Context, n int, opts []grpc.CallOption) bool {
	if n >= maxResends && !waitsForReady(opts) {
		return false
	}
	if n == 0 {
		return true
	}
	d := time.Millisecond << (2 * min(n, maxResends-1))
	timer := time.NewTimer(d/2 + rand.N(d)) //nolint:gosec // spreads load, hides nothing
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func waitsForReady(opts []grpc.CallOption) bool {
	waits := false
	for _, opt := range opts { // the last one wins
		if opt, ok := opt.(grpc.FailFastCallOption); ok {
			waits = !opt.FailFast
		}
	}
	return waits
}

// refusedBy returns the ID of the instance that refused the call before its
// handler. Nothing else may be sent twice, so nothing else counts.
func refusedBy(err error) (id string, refused bool) {
	if err == nil || status.Code(err) != codes.Unavailable {
		return "", false
	}
	details := status.Convert(err).Details()
	at := slices.IndexFunc(details, func(d any) bool {
		info, ok := d.(*errdetails.ErrorInfo)
		return ok && info.GetDomain() == refusedDomain && info.GetReason() == refusedReason
	})
	if at < 0 {
		return "", false
	}
	return details[at].(*errdetails.ErrorInfo).GetMetadata()[refusedInstance], true
}
