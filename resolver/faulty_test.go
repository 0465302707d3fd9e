package resolver_test

import (
	"context"
	"errors"

	"github.com/grpc-micro/micro/resolver"
)

// faulty is a registry whose calls can be made to fail or to hang, one by one: a
// function that returns nothing lets the call through.
type faulty struct {
	*resolver.Memory

	register   func(ctx context.Context, insts []*resolver.Instance) (resolver.Registration, error)
	update     func(ctx context.Context) error
	deregister func(ctx context.Context) error
}

func (f *faulty) Register(ctx context.Context, insts ...*resolver.Instance) (resolver.Registration, error) {
	if f.register != nil {
		if reg, err := f.register(ctx, insts); reg != nil || err != nil {
			return reg, err
		}
	}
	reg, err := f.Memory.Register(ctx, insts...)
	if err != nil {
		return nil, err
	}
	return &faultyRegistration{reg, f}, nil
}

type faultyRegistration struct {
	resolver.Registration

	f *faulty
}

func (r *faultyRegistration) Update(ctx context.Context, insts ...*resolver.Instance) error {
	if r.f.update != nil {
		if err := r.f.update(ctx); err != nil {
			return err
		}
	}
	return r.Registration.Update(ctx, insts...)
}

func (r *faultyRegistration) Deregister(ctx context.Context) error {
	if r.f.deregister != nil {
		if err := r.f.deregister(ctx); err != nil {
			return err
		}
	}
	return r.Registration.Deregister(ctx)
}

// until hangs as a registry does that is cut off, and honours its deadline.
func until(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

var errAway = errors.New("the registry is away")
