package balancer

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// probe is a call that asks the picker something in the place of a connection.
// It goes the way of every call, through the interceptors and the resolver, and
// ends at the pick: whatever the policy is, it is never sent.
type probe interface {
	// look sees the answer to the call, and returns an error that ends it, or
	// ErrNoSubConnAvailable to look again when something has changed.
	look(a *answer) error
}

// errLooked ends a probe.
var errLooked = status.Error(codes.Canceled, "balancer: this call only asks the picker")

// run sends the probe on its way. The error says why it did not come back.
func run(ctx context.Context, conn grpc.ClientConnInterface, method string, p probe) error {
	ctx = withCall(ctx, func(c *call) { c.probe = p })
	err := conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}, grpc.PerRPCCredentials(barrier{}))
	if status.Code(err) == codes.Canceled && ctx.Err() == nil {
		return nil
	}
	return err
}

// barrier holds a call back that a picker of another policy has let through.
type barrier struct{}

var errForeign = errors.New("balancer: the connection's policy is none of this package")

func (barrier) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return nil, status.Error(codes.Unauthenticated, errForeign.Error())
}

func (barrier) RequireTransportSecurity() bool { return false }

// WaitReady waits until conn is connected to n of the instances that it would
// pick among for ctx; 0 means all of them (of its subset, if it has one). It is
// for before the first call: to have the connections up when that comes. Calls
// do not need it, they wait by themselves. While there are no instances, or the
// registry does not answer, it waits for some.
//
// It returns an error that says how many are connected when ctx ends, or when
// the others have been tried and failed. The channel's policy must be one of
// this package.
func WaitReady(ctx context.Context, conn grpc.ClientConnInterface, n int) error {
	w := &waiter{want: n}
	err := run(ctx, conn, "/micro.balancer/WaitReady", w)
	if err == nil && w.missing() {
		err = errors.New("the others cannot be reached")
	}
	switch {
	case err == nil:
		return nil
	case w.all == 0 && w.cause != nil:
		return fmt.Errorf("balancer: wait ready: there are no instances: %w: %w", w.cause, err)
	}
	return fmt.Errorf("balancer: wait ready: %d of %d instances are connected: %w", w.ready, max(w.want, w.all), err)
}

type waiter struct {
	want       int
	ready, all int // Pick is called for one call by one goroutine at a time
	cause      error
}

func (w *waiter) missing() bool { return w.ready < w.want || w.want == 0 && w.ready < w.all }

func (w *waiter) look(a *answer) error {
	w.ready, w.all = 0, 0
	waiting := false
	for _, e := range a.picker.endpoints {
		if !e.joined.Load() || e.draining() || !a.keeps(e) || a.tierOf(e) < 0 {
			continue
		}
		w.all++
		switch e.state() {
		case connectivity.Ready:
			w.ready++
		case connectivity.TransientFailure:
		default:
			waiting = true
		}
	}
	if w.cause = a.err; errors.Is(a.err, grpcbalancer.ErrNoSubConnAvailable) {
		w.cause = nil
	}
	if w.all == 0 || w.missing() && waiting {
		return grpcbalancer.ErrNoSubConnAvailable
	}
	return errLooked
}
