package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/resolver"
)

// call is a call to etcd: it has a deadline, it ends with the registry, and its
// errors say where etcd should have been.
type call struct {
	ctx   context.Context
	end   func() // lets Close go on
	r     *Registry
	what  string
	began time.Time
	last  *lastAttempt
}

// begin begins a call, which ends no later than ctx, or than the timeout if ctx
// has no deadline. Close waits for its end.
func (r *Registry) begin(ctx context.Context, what string) (*call, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, resolver.ErrClosed
	}
	r.tasks.Add(1)
	cancel := context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
	}
	ctx, abort := context.WithCancel(ctx)
	unlink := context.AfterFunc(r.ctx, abort)
	end := func() {
		unlink()
		abort()
		cancel()
		r.tasks.Done()
	}
	last := &lastAttempt{}
	return &call{ctx: last.in(ctx), end: end, r: r, what: what, began: time.Now(), last: last}, nil
}

// failed explains an error of etcd's client.
func (c *call) failed(err error) error {
	switch {
	case c.r.ctx.Err() != nil:
		return fmt.Errorf("etcd: %s: %w", c.what, resolver.ErrClosed)
	case errors.Is(c.ctx.Err(), context.DeadlineExceeded), status.Code(err) == codes.Unavailable:
		return fmt.Errorf("etcd: %s: etcd at %s did not answer within %v: is it running, and reachable from here? %w",
			c.what, strings.Join(c.r.Endpoints(), ","), time.Since(c.began).Round(time.Millisecond), c.last.explain(err))
	}
	return fmt.Errorf("etcd: %s: %w", c.what, err)
}
