package balancer

import (
	"context"
	"encoding/json"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
)

// connection is one of an endpoint's. Most have one; several get round what one
// HTTP/2 connection can carry.
type connection struct {
	pickFirst grpcbalancer.Balancer // nil until it connects for the first time; guarded by the Endpoint's mu
	state     *childState           // guarded by the set's mu
}

// childState is the last thing that an endpoint's pick_firsts said.
type childState struct {
	sub    grpcbalancer.SubConn // that picker always picks; nil if not connected, or if there are several
	state  connectivity.State
	picker grpcbalancer.Picker
	more   *inTurn // nil: there is one connection
}

// inTurn are the connections of an endpoint that are up.
type inTurn struct {
	subs []grpcbalancer.SubConn
	next atomic.Uint32
}

// unconnected is the state of an endpoint that has not begun to connect.
var unconnected = childState{state: connectivity.Idle}

// newChildState asks a pick_first that is connected once for all: it has one
// answer, without a Done, until it says something else.
func newChildState(s grpcbalancer.State) *childState {
	c := &childState{state: s.ConnectivityState, picker: s.Picker}
	if c.state == connectivity.Ready {
		if result, err := s.Picker.Pick(grpcbalancer.PickInfo{Ctx: context.Background()}); err == nil {
			c.sub = result.SubConn
		}
	}
	return c
}

// pick returns the connection for a call, or nil.
func (c *childState) pick() grpcbalancer.SubConn {
	if c.more == nil || len(c.more.subs) == 0 {
		return c.sub
	}
	return c.more.subs[c.more.next.Add(1)%uint32(len(c.more.subs))]
}

// together is the state of an endpoint with several connections: that of the
// best of them, and calls by turns over all that are as good.
func (e *Endpoint) together() *childState {
	best := e.connections[0].state
	var subs []grpcbalancer.SubConn
	for i := range e.connections {
		s := e.connections[i].state
		if quality[s.state] > quality[best.state] {
			best = s
		}
		if s.sub != nil {
			subs = append(subs, s.sub)
		}
	}
	return &childState{state: best.state, picker: best.picker, more: &inTurn{subs: subs}}
}

var quality = [connectivity.Shutdown + 1]int{connectivity.Idle: 1, connectivity.Connecting: 2, connectivity.Ready: 3}

// parseConnections takes how many connections to have to each instance, 1 to 64,
// by default 1. It counts for instances that come after it was said.
func parseConnections(c *config, raw json.RawMessage) error {
	if err := ParseStrict(raw, &c.connections); err != nil {
		return err
	}
	return within("number", c.connections, 1, 64)
}

// connect lets each pick_first connect: for the first time, or again.
func (e *Endpoint) connect() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	for i := range e.connections {
		c := &e.connections[i]
		if c.pickFirst != nil {
			c.pickFirst.ExitIdle()
			continue
		}
		c.pickFirst = grpcbalancer.Get(pickfirst.Name).Build(&childConn{e.set.cc, e, i}, e.set.opts)
		e.updatePickFirst(c.pickFirst)
	}
}

// move tells pick_first that the addresses have changed in order, or in what
// else is said of them.
func (e *Endpoint) move(to []grpcresolver.Address) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addresses = to
	for i := range e.connections {
		if c := &e.connections[i]; c.pickFirst != nil && !e.closed {
			e.updatePickFirst(c.pickFirst)
		}
	}
}

// updatePickFirst needs e.mu. With the health listener, pick_first is READY
// when the server's health service says so, if the service config has a
// healthCheckConfig; without it that would be ignored without a word.
func (e *Endpoint) updatePickFirst(p grpcbalancer.Balancer) {
	// What goes wrong comes as a state, too.
	_ = p.UpdateClientConnState(grpcbalancer.ClientConnState{
		ResolverState: pickfirst.EnableHealthListener(grpcresolver.State{
			Endpoints: []grpcresolver.Endpoint{{Addresses: e.addresses}},
		}),
	})
}

func (e *Endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for i := range e.connections {
		if c := &e.connections[i]; c.pickFirst != nil {
			c.pickFirst.Close()
		}
	}
}

// childConn is the ClientConn of a pick_first.
type childConn struct {
	grpcbalancer.ClientConn

	e *Endpoint
	n int // which connection
}

// UpdateState is called with pick_first's lock held.
func (c *childConn) UpdateState(s grpcbalancer.State) { c.e.set.updateState(c.e, c.n, s) }
