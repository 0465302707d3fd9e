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
	err := invoke(ctx, method, req, reply, cc, opts...)
	for n := range maxResends {
		id, refused := refusedBy(err)
		if !refused || !elsewhere(ctx, n) {
			return err
		}
		ctx = balancer.WithAvoid(ctx, id)
		err = invoke(ctx, method, req, reply, cc, opts...)
	}
	return err
}

// elsewhere waits before a call is sent for the n-th time after the first: not
// at all at first, for there are others, then 4 ms, 16, 64 and 256, about, for
// all that are known may have their call, and new ones are on the way.
func elsewhere(ctx context.Context, n int) bool {
	if n == 0 {
		return true
	}
	d := time.Millisecond << (2 * n)
	timer := time.NewTimer(d/2 + rand.N(d)) //nolint:gosec // spreads load, hides nothing
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
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
