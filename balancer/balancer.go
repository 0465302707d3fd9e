package balancer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// coalesce is how long changes that nobody waits for may be held back, so that
// ten thousand instances that come up cost a hundred pickers and not ten
// thousand.
const coalesce = 10 * time.Millisecond

// together is how long a lost connection may be held back behind another one:
// when thousands are lost at once, the cost is that of some pickers, each of
// which copies a list, and not of thousands. Calls that are sent to such a
// connection meanwhile wait as long.
const together = time.Millisecond

// Build implements grpc's balancer.Builder.
func (b *builder) Build(cc grpcbalancer.ClientConn, opts grpcbalancer.BuildOptions) grpcbalancer.Balancer {
	set := &endpointSet{
		cc: cc, opts: opts, builder: b, config: newConfig(b), name: rand.Uint64(), //nolint:gosec // spreads load, hides nothing
		service: opts.Target.Endpoint(),
		wake:    make(chan struct{}, 1), done: make(chan struct{}), stopped: make(chan struct{}),
		endpoints: make(map[string]*Endpoint), dials: dials{wave: 1},
	}
	go set.run()
	return set
}

// endpointSet is the balancer of one channel: an Endpoint for each instance,
// and a picker over them.
//
// It is not built on grpc's endpointsharding, which visits every child at each
// change of one: with that 10,000 instances take 14 s to come up, and with this
// a hundredth of a second.
//
// Locks are taken in this order: an Endpoint's, its pick_first's, mu, grpc's.
// So nothing of an Endpoint that calls into its pick_first is called with mu
// held, nor from within a pick_first's UpdateState, where another one's lock is
// held: connects are queued, and made by run.
type endpointSet struct {
	cc      grpcbalancer.ClientConn
	opts    grpcbalancer.BuildOptions
	builder *builder

	wake    chan struct{} // there is something for run to do
	done    chan struct{} // closed to end run
	stopped chan struct{} // closed by run at its end

	inFlight atomic.Int64 // calls under way to all endpoints, if they are tracked
	suspects atomic.Bool  // an endpoint has failed often enough to look at it

	mu        sync.Mutex // guards what follows, and what Endpoint says that it guards
	config    *config
	name      uint64               // of this client, among others
	service   string               // that the channel calls
	endpoints map[string]*Endpoint // by their addresses
	all       []*Endpoint          // the same in the resolver's order; replaced by its updates, never written
	ready     []*Endpoint          // connected and not draining, but for gaps; appended to in place, copied to remove
	gaps      int                  // endpoints in ready that are to be removed by the next picker
	removed   time.Time            // when some were
	states    [connectivity.Shutdown + 1]int
	update    int       // counts the resolver's updates
	trouble   trouble   // what the resolver has said since the last one
	latest    *picker   // that grpc has
	due       time.Time // when a change that is held back is published; zero: there is none
	dials     dials
	ejections ejections
	counting  bool // everything is tracked: somebody has asked for an explanation
	closed    bool
}

// UpdateClientConnState takes over what the resolver found. An empty set is
// taken as such: calls fail, and none goes to an instance that has left.
func (b *endpointSet) UpdateClientConnState(s grpcbalancer.ClientConnState) error {
	cfg, err := b.builder.configOf(s.BalancerConfig)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.config, b.trouble = cfg, trouble{}
	gone, moved := b.reconcile(s.ResolverState.Endpoints)
	b.publish()
	empty := len(b.all) == 0
	b.mu.Unlock()

	for _, e := range gone { // no picker that comes has them
		e.close()
	}
	for _, m := range moved {
		m.endpoint.move(m.to)
	}
	b.wakeUp()
	if empty {
		return grpcbalancer.ErrBadResolverState
	}
	return nil
}

// updateState takes over an endpoint's state, and publishes at once what a call
// may be waiting for: the first connection, a lost one (grpc parks a call that
// was sent there until the next picker, even if it is back; of many that are
// lost, see together), and one that a call was turned away for.
func (b *endpointSet) updateState(e *Endpoint, connection int, s grpcbalancer.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || e.removed {
		return
	}
	before, lost := e.state(), e.connections[connection].state.state == connectivity.Ready && s.ConnectivityState != connectivity.Ready
	state := newChildState(s)
	e.connections[connection].state = state
	if len(e.connections) > 1 {
		state = e.together()
	}
	e.child.Store(state)
	b.states[before]--
	b.states[state.state]++
	if s.ConnectivityState != connectivity.Connecting {
		b.dials.end(e)
	}
	if s.ConnectivityState == connectivity.Idle {
		b.dials.add(e)
	}
	if b.dials.ready() {
		b.wakeUp()
	}
	b.list(e)
	switch state.state {
	case before: // nothing new, or another error, which picks ask for
		if lost {
			b.publishLoss()
		}
	case connectivity.Ready:
		if e.record.inARow.Store(0); e.isNew {
			e.isNew = false
			e.startSlowly(b.config)
		}
		if b.states[connectivity.Ready] == 1 || b.latest.lacks(e) {
			b.publish()
			return
		}
		b.publishSoon()
	default:
		if b.config.subset != nil && state.state == connectivity.TransientFailure {
			b.joinSubset()
		}
		if before == connectivity.Ready {
			b.publishLoss()
			return
		}
		b.publishSoon()
	}
}

// list keeps the ready list. Pickers hold a slice of it that ends where the
// list ended then, so that adding to it in place does not touch them. It needs
// b.mu.
func (b *endpointSet) list(e *Endpoint) {
	usable := e.usable()
	switch {
	case usable == e.listed:
		return
	case !usable:
		e.gap = true
		b.gaps++
	case e.gap: // it is still in its place
		e.gap = false
		b.gaps--
	default:
		b.ready = append(b.ready, e)
	}
	e.listed = usable
}

// closeGaps needs b.mu.
func (b *endpointSet) closeGaps() {
	if b.gaps == 0 {
		return
	}
	ready := make([]*Endpoint, 0, len(b.ready)-b.gaps)
	for _, e := range b.ready {
		if e.gap {
			e.gap = false
			continue
		}
		ready = append(ready, e)
	}
	b.ready, b.gaps, b.removed = ready, 0, time.Now()
}

// publish gives grpc a picker of what is known now. It needs b.mu.
func (b *endpointSet) publish() {
	b.due = time.Time{}
	b.closeGaps()
	state := connectivity.TransientFailure
	switch {
	case b.states[connectivity.Ready] > 0:
		state = connectivity.Ready
	case b.states[connectivity.Connecting]+b.states[connectivity.Idle] > 0:
		state = connectivity.Connecting
	}
	b.latest = &picker{
		set: b, config: b.config, service: b.service, endpoints: b.all, ready: b.ready, trouble: b.trouble,
		track: b.config.track,
	}
	if b.counting {
		b.latest.track |= trackInFlight | trackLatency | trackPicks
	}
	b.latest.whole.init(b.latest)
	b.cc.UpdateState(grpcbalancer.State{ConnectivityState: state, Picker: b.latest})
}

// publishSoon sees to it that run publishes. It needs b.mu.
func (b *endpointSet) publishSoon() {
	if b.due.IsZero() {
		b.publishAt(time.Now().Add(coalesce))
	}
}

// publishLoss publishes at once, unless it did just before. It needs b.mu.
func (b *endpointSet) publishLoss() {
	if at := b.removed.Add(together); time.Now().Before(at) {
		b.publishAt(at)
		return
	}
	b.publish()
}

// publishAt needs b.mu.
func (b *endpointSet) publishAt(at time.Time) {
	if b.due.IsZero() || at.Before(b.due) {
		b.due = at
		b.wakeUp()
	}
}

// ResolverError matters only while nothing else is known: the last known
// instances serve on, and errors of picks say what else is wrong.
func (b *endpointSet) ResolverError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble.count++
	b.trouble.last = plain(err)
	b.publish()
}

// trouble is what a resolver has reported since it last found something.
type trouble struct {
	count int
	last  error
}

// noInstances is what calls fail with while the resolver knows none.
func (t trouble) noInstances(service string) error {
	if t.last != nil {
		return t.last
	}
	return fmt.Errorf("balancer: no instances of %s", service)
}

// beside adds the resolver's trouble to what a call fails with: the instances
// that it fails with may be those of long ago.
func (t trouble) beside(err error) error {
	if t.count == 0 {
		return err
	}
	return fmt.Errorf("%w (and the resolver has failed %d times since it found these instances: %w)", err, t.count, t.last)
}

// plain takes a grpc status out of err: it would end calls that wait for ready.
func plain(err error) error {
	if _, ok := status.FromError(err); ok {
		return errors.New(err.Error())
	}
	return err
}

// ExitIdle lets every connection that is idle connect again.
func (b *endpointSet) ExitIdle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.all {
		if e.joined.Load() && e.state() == connectivity.Idle {
			b.dials.add(e)
		}
	}
	b.wakeUp()
}

// UpdateSubConnState is never called: every SubConn has a listener.
func (b *endpointSet) UpdateSubConnState(grpcbalancer.SubConn, grpcbalancer.SubConnState) {}

// Close ends every connection, and waits for run.
func (b *endpointSet) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	close(b.done)
	<-b.stopped
	for _, e := range b.endpoints {
		e.close()
	}
}
