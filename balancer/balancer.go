package balancer

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
)

// coalesce is how long changes that nobody waits for may be held back, so that
// ten thousand instances that come up cost a hundred pickers and not ten
// thousand.
const coalesce = 10 * time.Millisecond

// Build implements grpc's balancer.Builder.
func (b *builder) Build(cc grpcbalancer.ClientConn, opts grpcbalancer.BuildOptions) grpcbalancer.Balancer {
	return &lb{
		cc: cc, opts: opts, builder: b, service: opts.Target.Endpoint(),
		pickFirst: grpcbalancer.Get(pickfirst.Name),
		endpoints: make(map[string]*Endpoint),
	}
}

// lb is the balancer of one channel: an endpoint with a pick_first of its own
// for each instance, since pick_first knows about several addresses of one
// instance and about health checks, and a picker over them.
//
// It is not built on grpc's endpointsharding, which visits every child at each
// change of one: with that 10,000 instances take 14 s to come up, and 40 ms
// like this.
//
// Locks are taken in this order: pick_first's, mu, grpc's. So no method of a
// pick_first is called with mu held, nor from within a pick_first's
// UpdateState, where another one's lock is held.
type lb struct {
	cc         grpcbalancer.ClientConn
	opts       grpcbalancer.BuildOptions
	builder    *builder
	service    string
	pickFirst  grpcbalancer.Builder
	turnedAway atomic.Bool // a pick found no connection since the last picker
	flushing   sync.WaitGroup

	// Touched by the methods that grpc serializes only.
	endpoints map[string]*Endpoint // by their addresses

	mu       sync.Mutex // guards what follows
	config   *config
	all      []*Endpoint // in the resolver's order; replaced by its updates, never written
	ready    []*Endpoint // connected and not draining; appended to in place, copied to remove
	states   [connectivity.Shutdown + 1]int
	idle     []*Endpoint // to be woken by the next flush
	err      error       // of picks while there are no endpoints
	updating bool        // within UpdateClientConnState, which publishes at its end
	pending  *time.Timer // the flush to come
	closed   bool
}

// UpdateClientConnState takes over what the resolver found. An empty set is
// taken as such: calls fail, and none goes to an instance that has left.
func (b *lb) UpdateClientConnState(s grpcbalancer.ClientConnState) error {
	cfg, ok := s.BalancerConfig.(*config)
	if !ok {
		parsed, err := b.builder.ParseConfig([]byte("{}"))
		if err != nil {
			return err
		}
		cfg = parsed.(*config)
	}
	b.mu.Lock()
	b.config, b.updating = cfg, true
	b.mu.Unlock()

	all, added := b.reconcile(s.ResolverState.Endpoints)
	for _, e := range added {
		e.start(b, s.ResolverState)
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	b.updating = false
	b.all, b.ready = all, nil
	for _, e := range all { // who drains may have changed
		if e.listed = e.usable(); e.listed {
			b.ready = append(b.ready, e)
		}
	}
	if len(all) == 0 {
		b.err = fmt.Errorf("balancer: no instances of %s", b.service)
		b.publish()
		return grpcbalancer.ErrBadResolverState
	}
	b.publish()
	return nil
}

// reconcile makes the endpoints those of the resolver. One whose addresses
// stay keeps its connection, whatever else is said of it.
func (b *lb) reconcile(endpoints []grpcresolver.Endpoint) (all, added []*Endpoint) {
	all = make([]*Endpoint, 0, len(endpoints))
	next := make(map[string]*Endpoint, len(endpoints))
	for _, ep := range endpoints {
		if len(ep.Addresses) == 0 {
			continue
		}
		key, inst := addressKey(ep), instanceOf(ep, b.service)
		if twin := next[key]; twin != nil { // two entries for one server: the one that does not drain is newer
			if twin.draining() {
				twin.instance.Store(inst)
			}
			continue
		}
		e := b.endpoints[key]
		if e == nil {
			e = newEndpoint(ep, inst)
			added = append(added, e)
		} else if e.Instance() != inst {
			e.instance.Store(inst)
		}
		next[key] = e
		all = append(all, e)
	}
	for key, e := range b.endpoints {
		if next[key] == nil {
			b.remove(e)
		}
	}
	b.endpoints = next
	return all, added
}

// start makes the pick_first of a new endpoint, which connects at once.
func (e *Endpoint) start(b *lb, s grpcresolver.State) {
	b.mu.Lock()
	b.states[e.state()]++
	b.mu.Unlock()
	e.balancer = b.pickFirst.Build(&childConn{b.cc, b, e}, b.opts)
	// Its errors come as states, too.
	_ = e.balancer.UpdateClientConnState(grpcbalancer.ClientConnState{
		ResolverState: pickfirst.EnableHealthListener(grpcresolver.State{
			Endpoints:  []grpcresolver.Endpoint{e.addresses},
			Attributes: s.Attributes,
		}),
	})
}

func (b *lb) remove(e *Endpoint) {
	b.mu.Lock()
	e.removed = true
	b.states[e.state()]--
	b.mu.Unlock()
	e.balancer.Close()
}

// childConn is the ClientConn of one pick_first.
type childConn struct {
	grpcbalancer.ClientConn

	b *lb
	e *Endpoint
}

// UpdateState is called with pick_first's lock held.
func (c *childConn) UpdateState(s grpcbalancer.State) { c.b.update(c.e, s) }

// update takes over an endpoint's state, and publishes at once what a call may
// be waiting for: the first connection, a lost one (grpc parks a call that was
// sent there until the next picker, even if it is back), and any, once a call
// was turned away.
func (b *lb) update(e *Endpoint, s grpcbalancer.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || e.removed {
		return
	}
	before := e.state()
	e.child.Store(&childState{s.ConnectivityState, s.Picker})
	b.states[before]--
	b.states[s.ConnectivityState]++
	if s.ConnectivityState == connectivity.Idle {
		b.idle = append(b.idle, e)
		b.schedule(0)
	}
	if b.updating {
		return
	}
	b.list(e)
	switch {
	case before == connectivity.Ready,
		s.ConnectivityState == connectivity.Ready && (b.states[connectivity.Ready] == 1 || b.turnedAway.Load()):
		b.publish()
	default:
		b.schedule(coalesce)
	}
}

// list keeps the ready list. Pickers hold a slice of it that ends where the
// list ended then, so that adding to it in place does not touch them. It needs
// b.mu.
func (b *lb) list(e *Endpoint) {
	usable := e.usable()
	switch {
	case usable == e.listed:
	case usable:
		b.ready = append(b.ready, e)
	default:
		at := slices.Index(b.ready, e)
		b.ready = slices.Concat(b.ready[:at], b.ready[at+1:])
	}
	e.listed = usable
}

// publish gives grpc a picker of what is known now. It needs b.mu.
func (b *lb) publish() {
	b.turnedAway.Store(false)
	state := connectivity.TransientFailure
	switch {
	case b.states[connectivity.Ready] > 0:
		state = connectivity.Ready
	case b.states[connectivity.Connecting]+b.states[connectivity.Idle] > 0:
		state = connectivity.Connecting
	}
	b.cc.UpdateState(grpcbalancer.State{
		ConnectivityState: state,
		Picker:            &picker{b: b, config: b.config, endpoints: b.all, ready: b.ready, err: b.err},
	})
}

// schedule sees to it that flush runs within d. It needs b.mu.
func (b *lb) schedule(d time.Duration) {
	switch {
	case b.pending == nil:
		b.flushing.Add(1)
		b.pending = time.AfterFunc(d, b.flush)
	case d == 0 && b.pending.Stop():
		b.pending.Reset(0)
	}
}

// flush publishes what was held back, and lets idle connections connect again:
// on a goroutine of its own, which holds no pick_first's lock.
func (b *lb) flush() {
	defer b.flushing.Done()
	b.mu.Lock()
	b.pending = nil
	var idle []*Endpoint
	if !b.closed {
		idle, b.idle = b.idle, nil
		if !b.updating {
			b.publish()
		}
	}
	b.mu.Unlock()
	for _, e := range idle {
		e.balancer.ExitIdle()
	}
}

// ResolverError matters only while nothing else is known.
func (b *lb) ResolverError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.all) == 0 {
		b.err = err
		b.publish()
	}
}

// ExitIdle lets every connection that is idle connect again.
func (b *lb) ExitIdle() {
	for _, e := range b.endpoints {
		e.balancer.ExitIdle()
	}
}

// UpdateSubConnState is never called: every SubConn has a listener.
func (b *lb) UpdateSubConnState(grpcbalancer.SubConn, grpcbalancer.SubConnState) {}

// Close ends every connection, and waits for a flush that is under way.
func (b *lb) Close() {
	b.mu.Lock()
	b.closed = true
	if b.pending != nil && b.pending.Stop() {
		b.flushing.Done()
	}
	b.mu.Unlock()
	b.flushing.Wait()
	for _, e := range b.endpoints {
		e.balancer.Close()
	}
}
