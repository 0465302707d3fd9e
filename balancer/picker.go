package balancer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
)

// cachedSets bounds how many filters a picker remembers the answers of.
const cachedSets = 64

// picker picks among the endpoints as they were when it was published. It
// holds no lock: what changes, changes in the next picker. Only what is asked
// for is worked out, so that ten thousand pickers in a row cost little.
type picker struct {
	b         *lb
	config    *config
	endpoints []*Endpoint // all there are
	ready     []*Endpoint // those that are connected and do not drain
	err       error       // what to say when there are no endpoints

	whole set // of calls without a filter

	mu       sync.Mutex // serializes the additions to filtered
	filtered atomic.Pointer[[]*set]
}

// Pick implements grpc's Picker.
func (p *picker) Pick(info grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	c := fromContext(info.Ctx)
	s := &p.whole
	if c != nil && c.filter != nil {
		s = p.setOf(c.filter)
	}
	s.once.Do(func() { s.fill(p) })
	if s.err != nil {
		return p.b.turnAway(s.err)
	}
	e := s.pick(info)
	if c != nil && slices.Contains(c.avoid, e.Instance().ID) {
		var wait bool
		if e, wait = s.avoiding(p, c.avoid, e); wait {
			return p.b.turnAway(grpcbalancer.ErrNoSubConnAvailable)
		}
	}
	return p.b.send(e, info)
}

// turnAway notes that a call waits for the next picker, if that is what err
// says; grpc compares it, so it is never wrapped.
func (b *lb) turnAway(err error) (grpcbalancer.PickResult, error) {
	if err == grpcbalancer.ErrNoSubConnAvailable { //nolint:errorlint // see above
		b.turnedAway.Store(true)
	}
	return grpcbalancer.PickResult{}, err
}

// send lets the endpoint's pick_first have the call. If the connection has
// gone since, it says that there is none, and grpc waits for the picker that
// is published for that.
func (b *lb) send(e *Endpoint, info grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	result, err := e.child.Load().picker.Pick(info)
	if err == nil && b.builder.trackInFlight {
		e.inFlight.Add(1)
		result.Done = e.done
	}
	return result, err
}

// set is what a filter keeps, and a policy's picker over it.
type set struct {
	filter Filter // the call's; nil: none
	once   sync.Once
	usable []*Endpoint
	pick   Picker
	err    error // of every pick, if nothing is usable
}

// setOf returns the set of a filter. Filters are few, and comparing is quicker
// than hashing a tree of them.
func (p *picker) setOf(f Filter) *set {
	if s := find(p.filtered.Load(), f); s != nil {
		return s
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	sets := p.filtered.Load()
	if s := find(sets, f); s != nil {
		return s
	}
	var next []*set
	if sets != nil {
		next = (*sets)[max(0, len(*sets)-cachedSets+1):] // the oldest goes
	}
	s := &set{filter: f}
	next = append(slices.Clip(next), s)
	p.filtered.Store(&next)
	return s
}

func find(sets *[]*set, f Filter) *set {
	if sets == nil {
		return nil
	}
	for _, s := range *sets {
		if s.filter == f {
			return s
		}
	}
	return nil
}

// fill finds what is usable. Draining endpoints are the last tier: they are
// looked at when no other can be used, which one that is connecting for the
// first time can.
func (s *set) fill(p *picker) {
	if len(p.endpoints) == 0 {
		s.err = p.err
		return
	}
	filter := s.filter
	if p.config.filter != nil {
		filter = And(p.config.filter, s.filter)
	}
	if filter == nil && len(p.ready) > 0 {
		s.use(p, p.ready)
		return
	}
	var tiers [2]tier
	matched := 0
	for _, e := range p.endpoints {
		inst := e.Instance()
		if filter != nil && !filter.match(inst) {
			continue
		}
		matched++
		if inst.Draining {
			tiers[1].add(e)
		} else {
			tiers[0].add(e)
		}
	}
	if matched == 0 {
		s.err = fmt.Errorf("balancer: none of %d instances of %s has %v", len(p.endpoints), p.endpoints[0].Instance().Service, filter)
		return
	}
	for _, t := range tiers {
		switch {
		case len(t.ready) > 0:
			s.use(p, t.ready)
			return
		case t.waiting:
			s.err = grpcbalancer.ErrNoSubConnAvailable
			return
		}
	}
	failed := tiers[0].failed
	if failed == nil {
		failed = tiers[1].failed
	}
	_, s.err = failed.child.Load().picker.Pick(grpcbalancer.PickInfo{Ctx: context.Background()})
	if s.err == nil { // it came back this instant
		s.err = grpcbalancer.ErrNoSubConnAvailable
	}
}

func (s *set) use(p *picker, ready []*Endpoint) {
	s.usable = ready
	s.pick = p.config.policy(ready)
}

// tier is what matched, by what a call can do with it.
type tier struct {
	ready   []*Endpoint
	failed  *Endpoint // one of them
	waiting bool      // there is one that has not yet been tried to its end
}

func (t *tier) add(e *Endpoint) {
	switch {
	case e.ready():
		t.ready = append(t.ready, e)
	case e.failed():
		t.failed = e
	default:
		t.waiting = true
	}
}

// avoiding returns an endpoint that is not to be avoided, in the place of
// picked: one that is usable or, by waiting for it, one that still connects.
// If there is none, picked is better than nothing.
func (s *set) avoiding(p *picker, ids []string, picked *Endpoint) (e *Endpoint, wait bool) {
	start := rand.IntN(len(s.usable)) //nolint:gosec // spreads load, hides nothing
	for i := range s.usable {
		e := s.usable[(start+i)%len(s.usable)]
		if !slices.Contains(ids, e.Instance().ID) {
			return e, false
		}
	}
	filter := And(p.config.filter, s.filter)
	for _, e := range p.endpoints {
		inst := e.Instance()
		if !e.ready() && !e.failed() && !inst.Draining && !slices.Contains(ids, inst.ID) && filter.match(inst) {
			return nil, true
		}
	}
	return picked, false
}
