package balancer

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/grpc-micro/micro/resolver"
)

// Endpoint is an instance as a policy sees it: what the registry says of it, and
// what was learnt by calling it. It lives as long as the instance has the same
// addresses in the same channel, through every update of either.
type Endpoint struct {
	set      *endpointSet
	instance atomic.Pointer[resolver.Instance]
	child    atomic.Pointer[childState]  // of its pick_first
	done     func(grpcbalancer.DoneInfo) // made once, for who counts calls in flight and no more

	// What was learnt: see tracking.
	inFlight atomic.Int64
	latency  atomic.Int64 // ns; 0: not known
	observed atomic.Int64 // when, by nanotime
	picks    atomic.Uint64
	started  atomic.Int64 // when it began to start slowly, by nanotime; 0: it does not
	ejected  atomic.Bool  // written with the set's mu held
	record   record

	// Guarded by the set's mu.
	update       int  // the last one that had it
	joined       bool // it was to be connected, and is counted among the set's states
	removed      bool // it is no longer in the set
	listed       bool // in the ready list
	isNew        bool // it came later than others, and has not been connected yet
	ejections    int  // how often it was lately
	ejectedUntil time.Time
	queued       bool // these three: see dials
	urgent       bool
	wave         int

	mu        sync.Mutex             // held in calls of pick_first; guards what follows
	addresses []grpcresolver.Address // written by UpdateClientConnState only
	pickFirst grpcbalancer.Balancer  // nil until it connects for the first time
	closed    bool
}

// childState is the last thing a pick_first said.
type childState struct {
	state  connectivity.State
	picker grpcbalancer.Picker
	sub    grpcbalancer.SubConn // that picker always picks; nil if not connected
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

func newEndpoint(set *endpointSet, addresses []grpcresolver.Address) *Endpoint {
	e := &Endpoint{set: set, addresses: addresses}
	e.child.Store(&unconnected)
	e.done = func(grpcbalancer.DoneInfo) { e.inFlight.Add(-1) }
	return e
}

// Instance returns what the registry says. It is never nil: for an endpoint of
// another resolver it has the address as ID, the channel's target as Service,
// and no more.
func (e *Endpoint) Instance() *resolver.Instance { return e.instance.Load() }

// InFlight returns how many calls this channel has under way to the instance,
// if the policy was registered with TrackInFlight or TrackLatency. A stream
// counts until it ends.
func (e *Endpoint) InFlight() int64 { return e.inFlight.Load() }

// Latency returns the moving average of how long the instance took to answer,
// which follows peaks at once and forgets them slowly, if the policy was
// registered with TrackLatency; 0 if nothing is known yet.
func (e *Endpoint) Latency() time.Duration { return time.Duration(e.latency.Load()) }

func (e *Endpoint) weight() float64 { return float64(max(1, e.Instance().Weight)) }

func (e *Endpoint) state() connectivity.State { return e.child.Load().state }

func (e *Endpoint) draining() bool { return e.Instance().Draining }

func (e *Endpoint) usable() bool {
	return e.state() == connectivity.Ready && !e.draining() && !e.ejected.Load()
}

// send is where the call goes. If the connection is gone, so is the picker that
// sent the call here: grpc waits for the next.
func (e *Endpoint) send(p *picker, c *call) (grpcbalancer.PickResult, error) {
	child := e.child.Load()
	if child.sub == nil {
		return grpcbalancer.PickResult{}, grpcbalancer.ErrNoSubConnAvailable
	}
	result := grpcbalancer.PickResult{SubConn: child.sub}
	if p.track != 0 {
		result.Done = e.begin(p, c)
	}
	return result, nil
}

// failure returns why there is no connection, or nil if there may be one. It
// allocates: it is for calls that fail.
func (e *Endpoint) failure() error {
	child := e.child.Load()
	if child.state != connectivity.TransientFailure {
		return nil
	}
	_, err := child.picker.Pick(grpcbalancer.PickInfo{})
	inst := e.Instance()
	return fmt.Errorf("balancer: instance %s of %s at %s: %w", inst.ID, inst.Service, strings.Join(inst.Addrs, ", "), err)
}

// connect lets pick_first connect: for the first time, or again.
func (e *Endpoint) connect() {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
	case e.pickFirst == nil:
		e.pickFirst = grpcbalancer.Get(pickfirst.Name).Build(&childConn{e.set.cc, e}, e.set.opts)
		e.updatePickFirst()
	default:
		e.pickFirst.ExitIdle()
	}
}

// move tells pick_first that the addresses have changed in order, or in what
// else is said of them.
func (e *Endpoint) move(to []grpcresolver.Address) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addresses = to
	if e.pickFirst != nil && !e.closed {
		e.updatePickFirst()
	}
}

// updatePickFirst needs e.mu. With the health listener, pick_first is READY
// when the server's health service says so, if the service config has a
// healthCheckConfig; without it that would be ignored without a word.
func (e *Endpoint) updatePickFirst() {
	// What goes wrong comes as a state, too.
	_ = e.pickFirst.UpdateClientConnState(grpcbalancer.ClientConnState{
		ResolverState: pickfirst.EnableHealthListener(grpcresolver.State{
			Endpoints: []grpcresolver.Endpoint{{Addresses: e.addresses}},
		}),
	})
}

func (e *Endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.pickFirst != nil {
		e.pickFirst.Close()
	}
}

// childConn is the ClientConn of a pick_first.
type childConn struct {
	grpcbalancer.ClientConn

	e *Endpoint
}

// UpdateState is called with pick_first's lock held.
func (c *childConn) UpdateState(s grpcbalancer.State) { c.e.set.updateState(c.e, s) }

// addressKey tells endpoints apart as grpc does: by their addresses in any
// order.
func addressKey(addresses []grpcresolver.Address) string {
	if len(addresses) == 1 {
		return addresses[0].Addr
	}
	key := make([]string, len(addresses))
	for i, a := range addresses {
		key[i] = base64.StdEncoding.EncodeToString([]byte(a.Addr))
	}
	slices.Sort(key)
	return strings.Join(key, " ")
}

// sameAddress compares what a connection is made of.
func sameAddress(a, b grpcresolver.Address) bool {
	return a.Addr == b.Addr && a.ServerName == b.ServerName && a.Attributes.Equal(b.Attributes)
}

// instanceOf returns what a resolver says of an endpoint, or the little that
// its address says.
func instanceOf(ep grpcresolver.Endpoint, service string) *resolver.Instance {
	if inst := resolver.InstanceOf(ep); inst != nil {
		return inst
	}
	inst := &resolver.Instance{ID: ep.Addresses[0].Addr, Service: service}
	for _, a := range ep.Addresses {
		inst.Addrs = append(inst.Addrs, a.Addr)
	}
	return inst
}
