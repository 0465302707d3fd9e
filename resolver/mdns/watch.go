package mdns

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/grpc-micro/micro/resolver"
)

// Watch implements resolver.Discovery. The first watch of a service asks the LAN,
// and waits for 30 ms to 250 ms, until the answers have ceased. The watch ends
// with an error when nothing can be sent, as without a network: it does not take
// silence for the end of all instances.
func (r *Registry) Watch(ctx context.Context, service string) iter.Seq2[[]*resolver.Instance, error] {
	return func(yield func([]*resolver.Instance, error) bool) {
		if err := resolver.ValidateService(service); err != nil {
			yield(nil, err)
			return
		}
		err := r.watch(ctx, service, yield)
		switch {
		case err == nil || ctx.Err() != nil:
		case r.ctx.Err() != nil:
			yield(nil, resolver.ErrClosed)
		default:
			yield(nil, fmt.Errorf("mdns: watch %s: %w", service, err))
		}
	}
}

// watch returns nil when yield has had enough.
func (r *Registry) watch(ctx context.Context, name string, yield func([]*resolver.Instance, error) bool) error {
	s := r.follow(name)
	defer r.unfollow(s)
	if err := r.settle(ctx, s); err != nil {
		return err
	}
	var last []*resolver.Instance
	for first := true; ; first = false {
		r.mu.Lock()
		snapshot, changed, failed := s.look(), s.changed, r.failed
		r.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.ctx.Err() != nil {
			return resolver.ErrClosed
		}
		if (first || !slices.Equal(snapshot, last)) && !yield(snapshot, nil) {
			return nil
		}
		last = snapshot
		select {
		case <-changed:
		case <-failed:
			r.mu.Lock()
			err := r.trouble
			r.mu.Unlock()
			if err != nil { // else it is over
				return err
			}
		case <-ctx.Done():
		case <-r.ctx.Done():
		}
	}
}

// follow lets s be asked for now and then.
func (r *Registry) follow(name string) *service {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.store.service(name)
	if s.watches++; s.watches == 1 {
		s.next = time.Now().Add(askAgain)
		r.nudge(s.next)
	}
	return s
}

func (r *Registry) unfollow(s *service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.watches--; s.watches == 0 {
		s.complete = false
	}
	r.store.tidy(s)
}
