package micro

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/grpc-micro/micro/resolver"
)

// drainTimeout bounds how long a stop waits for the registry to take the
// draining flag. Beyond it the stop goes on: withdrawing comes next anyway.
const drainTimeout = 2 * time.Second

// announcement keeps the service in the registry from start until withdraw. A
// nil announcer stands for a service without a registry.
type announcement struct {
	announcer *resolver.Announcer
	ready     func()
	cancel    context.CancelFunc
	done      chan error
}

func newAnnouncement(s *Service, insts []*resolver.Instance) (*announcement, error) {
	for _, inst := range insts {
		if err := inst.Validate(); err != nil {
			return nil, err
		}
	}
	a := &announcement{ready: sync.OnceFunc(func() { close(s.ready) })}
	if s.opts.registry == nil {
		return a, nil
	}
	s.health.SetServingStatus(registryHealth, grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	a.announcer = resolver.NewAnnouncer(s.opts.registry, insts...)
	a.announcer.SetLogger(s.opts.logger)
	a.announcer.OnChange(func(registered bool, _ error) {
		status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
		if registered {
			status = grpc_health_v1.HealthCheckResponse_SERVING
			a.ready()
		}
		s.health.SetServingStatus(registryHealth, status)
	})
	return a, nil
}

func (s *Service) prepareAnnouncement(addrs []string, local string) error {
	a, err := newAnnouncement(s, s.instances(addrs, local))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announce = a
	return err
}

func (a *announcement) start(ctx context.Context) {
	if a.announcer == nil {
		a.ready()
		return
	}
	ctx, a.cancel = context.WithCancel(ctx)
	a.done = make(chan error, 1)
	go func() { a.done <- a.announcer.Run(ctx) }()
}

// drain tells the registry that the instance drains: same lease, same key, so
// that connections stay up. It is told in vain when the registry is away, and
// then nobody would have seen it either.
func (a *announcement) drain(ctx context.Context) {
	if a.cancel == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	_ = a.announcer.Update(ctx, func(i *resolver.Instance) { i.Draining = true })
}

// Registration returns whether the service can be found in its registry, and
// since when. Without a registry, and before Run, it is zero. It is for metrics
// and debugging; grpc's health checking has the same as the service
// micro.registry.
func (s *Service) Registration() resolver.AnnouncerState {
	s.mu.Lock()
	a := s.announce
	s.mu.Unlock()
	if a == nil || a.announcer == nil {
		return resolver.AnnouncerState{}
	}
	return a.announcer.State()
}

// Update changes how the service is announced, under each of its names: to
// drain it for a while, to resume, to weigh it anew. change gets a copy of each
// instance, and must leave Service and ID alone. Update blocks until the
// registry has the change or ctx ends; in that case, too, the change stands, and
// reaches the registry when that can be reached. It lasts until the next one,
// through every re-registration, and does not touch health: a client that has
// nobody else still calls.
func (s *Service) Update(ctx context.Context, change func(*resolver.Instance)) error {
	switch {
	case change == nil:
		return fmt.Errorf("micro: service %s: Update(nil): pass a function", s.name)
	case s.opts.registry == nil:
		return fmt.Errorf("micro: service %s: Update: it is in no registry: give it one with WithRegistry", s.name)
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		return fmt.Errorf("micro: service %s: Update: it is not announced yet: %w", s.name, ctx.Err())
	}
	return s.announce.announcer.Update(ctx, change)
}

// withdraw takes the instance out of the registry and waits for it until ctx
// ends.
func (a *announcement) withdraw(ctx context.Context) error {
	if a.cancel == nil {
		return nil
	}
	a.cancel()
	select {
	case err := <-a.done:
		if err != nil {
			return fmt.Errorf("micro: withdrawing from the registry (the entry goes when its lease ends): %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("micro: withdrawing from the registry (the entry goes when its lease ends): %w", ctx.Err())
	}
}
