package balancer

import (
	"strings"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/grpc-micro/micro/resolver"
)

// Endpoint is an instance as a policy sees it: what the registry says of it, and
// what was learnt by calling it. It lives as long as the instance has the same
// addresses in the same channel, through every update of either.
type Endpoint struct {
	instance atomic.Pointer[resolver.Instance]
	child    atomic.Pointer[childState] // of its pick_first
	inFlight atomic.Int64

	addresses grpcresolver.Endpoint
	balancer  grpcbalancer.Balancer            // its pick_first
	done      func(info grpcbalancer.DoneInfo) // made once, for the policies that track

	listed  bool // in the ready list; guarded by the balancer's mu
	removed bool // likewise: no longer in the resolver's set
}

// childState is the last thing a pick_first said.
type childState struct {
	state  connectivity.State
	picker grpcbalancer.Picker
}

// Instance returns what the registry says. It is never nil: for an endpoint of
// another resolver it has the address as ID, and no more.
func (e *Endpoint) Instance() *resolver.Instance { return e.instance.Load() }

// InFlight returns how many calls this channel has under way to the instance,
// if the policy was registered with TrackInFlight.
func (e *Endpoint) InFlight() int64 { return e.inFlight.Load() }

func newEndpoint(ep grpcresolver.Endpoint, inst *resolver.Instance) *Endpoint {
	e := &Endpoint{addresses: ep}
	e.instance.Store(inst)
	e.child.Store(&childState{connectivity.Idle, errPicker{grpcbalancer.ErrNoSubConnAvailable}})
	e.done = func(grpcbalancer.DoneInfo) { e.inFlight.Add(-1) }
	return e
}

func (e *Endpoint) state() connectivity.State { return e.child.Load().state }

// failed reports whether its connection has failed since it was last up.
// pick_first stays there until it is up again.
func (e *Endpoint) failed() bool { return e.state() == connectivity.TransientFailure }

func (e *Endpoint) ready() bool { return e.state() == connectivity.Ready }

func (e *Endpoint) draining() bool { return e.Instance().Draining }

func (e *Endpoint) usable() bool { return e.ready() && !e.draining() }

// addressKey tells endpoints apart. Their order does not matter to grpc either.
func addressKey(ep grpcresolver.Endpoint) string {
	if len(ep.Addresses) == 1 {
		return ep.Addresses[0].Addr
	}
	addrs := make([]string, len(ep.Addresses))
	for i, a := range ep.Addresses {
		addrs[i] = a.Addr
	}
	return strings.Join(addrs, "\x00")
}

// instanceOf returns what a resolver says of an endpoint, or the little that
// its address says.
func instanceOf(ep grpcresolver.Endpoint, service string) *resolver.Instance {
	if inst := resolver.InstanceOf(ep); inst != nil {
		return inst
	}
	inst := &resolver.Instance{Service: service}
	for _, a := range ep.Addresses {
		inst.Addrs = append(inst.Addrs, a.Addr)
	}
	if len(inst.Addrs) > 0 {
		inst.ID = inst.Addrs[0]
	}
	return inst
}

// errPicker fails every pick alike.
type errPicker struct{ err error }

func (p errPicker) Pick(grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	return grpcbalancer.PickResult{}, p.err
}
