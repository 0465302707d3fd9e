package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// Captured is a balancing policy that goes on as it was, while its pickers and
// connections can be looked at. Only one channel of the process may use it.
type Captured struct {
	grpcbalancer.Builder

	mu      sync.Mutex // guards what follows
	picker  grpcbalancer.Picker
	ready   int           // connections
	changed chan struct{} // closed when one of the two is another
}

// Capture registers the policy anew. Call it before the first channel.
func Capture(policy string) *Captured {
	c := &Captured{Builder: grpcbalancer.Get(policy), changed: make(chan struct{})}
	grpcbalancer.Register(c)
	return c
}

// ParseConfig implements grpc's balancer.ConfigParser, if the policy does.
func (c *Captured) ParseConfig(config json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	if p, ok := c.Builder.(grpcbalancer.ConfigParser); ok {
		return p.ParseConfig(config)
	}
	return nil, nil
}

// Build implements grpc's balancer.Builder.
func (c *Captured) Build(cc grpcbalancer.ClientConn, opts grpcbalancer.BuildOptions) grpcbalancer.Balancer {
	return c.Builder.Build(&capturedConn{cc, c}, opts)
}

// Picker returns the latest one.
func (c *Captured) Picker() grpcbalancer.Picker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.picker
}

// WaitSpread waits until n connections are READY, and calls in a row go to each
// of them.
func (c *Captured) WaitSpread(ctx context.Context, n int) error {
	for {
		c.mu.Lock()
		ready, changed, picker := c.ready, c.changed, c.picker
		c.mu.Unlock()
		if ready >= n && reached(picker, n) >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d instances are connected: %w", ready, n, context.Cause(ctx))
		}
	}
}

// reached counts the connections that n picks go to.
func reached(p grpcbalancer.Picker, n int) int {
	seen := make(map[grpcbalancer.SubConn]bool, n)
	for range n {
		result, err := p.Pick(grpcbalancer.PickInfo{Ctx: context.Background()})
		if err != nil {
			break
		}
		seen[result.SubConn] = true
		if result.Done != nil {
			result.Done(grpcbalancer.DoneInfo{})
		}
	}
	return len(seen)
}

// change notes that a connection is READY or no more so, or a picker.
func (c *Captured) change(by int, picker grpcbalancer.Picker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready += by; picker != nil {
		c.picker = picker
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

type capturedConn struct {
	grpcbalancer.ClientConn

	c *Captured
}

func (cc *capturedConn) UpdateState(s grpcbalancer.State) {
	cc.c.change(0, s.Picker)
	cc.ClientConn.UpdateState(s)
}

// NewSubConn counts the connection after its policy has seen what became of it.
func (cc *capturedConn) NewSubConn(addrs []grpcresolver.Address, opts grpcbalancer.NewSubConnOptions) (grpcbalancer.SubConn, error) {
	next, was := opts.StateListener, false
	opts.StateListener = func(s grpcbalancer.SubConnState) {
		next(s)
		if is := s.ConnectivityState == connectivity.Ready; is != was {
			if was = is; is {
				cc.c.change(1, nil)
			} else {
				cc.c.change(-1, nil)
			}
		}
	}
	return cc.ClientConn.NewSubConn(addrs, opts) //nolint:staticcheck // deprecated are several addresses, which nobody passes here
}
