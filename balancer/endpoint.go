package balancer

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/grpc-micro/micro/resolver"
)

// Endpoint is an instance as a policy sees it: what the registry says of it, and
// what was learnt by calling it. It lives as long as the instance has the same
// addresses in the same channel, through every update of either.
//
// What a pick needs is in the first of its cache lines, and the last field makes
// them whole: among 10,000 endpoints each line costs more than the rest of a pick.
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

	joined atomic.Bool // it is to be connected, and counted among the set's states; written with the set's mu held
	rank   uint64      // among the instances, for this client: see subset

	// Guarded by the set's mu.
	onDemand     bool // it joined because a call could go nowhere else
	update       int  // the last one that had it
	removed      bool // it is no longer in the set
	listed       bool // in the ready list
	gap          bool // in it, and to be removed
	isNew        bool // it came later than others, and has not been connected yet
	ejections    int  // how often it was lately
	ejectedUntil time.Time
	queued       bool // these three: see dials
	urgent       bool
	wave         int

	mu          sync.Mutex             // held in calls of pick_first; guards what follows
	addresses   []grpcresolver.Address // written by UpdateClientConnState only
	connections []connection           // as many as the config said when it came
	closed      bool

	_ [48]byte
}

func newEndpoint(set *endpointSet, addresses []grpcresolver.Address) *Endpoint {
	e := &Endpoint{set: set, addresses: addresses, connections: make([]connection, set.config.connections)}
	e.rank = mix(hash(addressKey(addresses)) ^ set.seed())
	for i := range e.connections {
		e.connections[i].state = &unconnected
	}
	e.child.Store(&unconnected)
	e.done = func(grpcbalancer.DoneInfo) { e.ended() }
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
	sub := e.child.Load().pick()
	if sub == nil {
		return grpcbalancer.PickResult{}, grpcbalancer.ErrNoSubConnAvailable
	}
	result := grpcbalancer.PickResult{SubConn: sub}
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

// addressKey tells endpoints apart as grpc does: by their addresses in any
// order; but for local sockets, so that an instance is the same one, and ranks the
// same in a subset, whether the client is on its host or not.
func addressKey(addresses []grpcresolver.Address) string {
	if len(addresses) > 1 && resolver.IsLocal(addresses[0]) {
		addresses = addresses[1:]
	}
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
