package mdns_test

import (
	"context"
	"errors"
	"testing"

	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/mdns"
	"github.com/grpc-micro/micro/resolver/resolvertest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	resolvertest.Run(t, func(t *testing.T) resolver.Registry { return open(t, domain()) })
}

// TestConformanceAcrossTheLAN has what is registered by one registry watched by
// another, so that all goes by multicast.
func TestConformanceAcrossTheLAN(t *testing.T) {
	t.Parallel()
	resolvertest.Run(t, func(t *testing.T) resolver.Registry {
		at := domain()
		return pair{open(t, at), open(t, at)}
	})
}

type pair struct {
	*mdns.Registry // watches

	announces *mdns.Registry
}

func (p pair) Register(ctx context.Context, insts ...*resolver.Instance) (resolver.Registration, error) {
	return p.announces.Register(ctx, insts...)
}

func (p pair) Close() error { return errors.Join(p.Registry.Close(), p.announces.Close()) }
