package balancer

import (
	"slices"
	"sync"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

// cachedAnswers bounds how many filters a picker remembers the answers for.
const cachedAnswers = 64

// picker picks among the endpoints as they were when it was published. It
// holds no lock: what changes, changes in the next picker. Only what is asked
// for is worked out, so that ten thousand pickers in a row cost little.
type picker struct {
	set       *endpointSet
	config    *config
	service   string
	endpoints []*Endpoint // all there are
	ready     []*Endpoint // those that are connected and do not drain
	trouble   trouble     // what the resolver has said since it found them
	track     tracking

	whole answer // for calls without a filter

	mu       sync.Mutex // serializes the additions to filtered
	filtered atomic.Pointer[[]*answer]
}

// Pick implements grpc's Picker. What most calls need stands here, in one
// function; the rest in pick.
func (p *picker) Pick(info grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	if used.Load() || !p.whole.quick.Load() {
		return p.pick(info)
	}
	child := p.whole.pick(info).child.Load()
	if child.sub == nil {
		return grpcbalancer.PickResult{}, grpcbalancer.ErrNoSubConnAvailable
	}
	return grpcbalancer.PickResult{SubConn: child.sub}, nil
}

func (p *picker) pick(info grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	c := fromContext(info.Ctx)
	a := &p.whole
	if c != nil && c.filter != nil {
		a = p.answerFor(c.filter)
	}
	if !a.worked.Load() {
		a.prepare(p)
	}
	if a.pick == nil {
		return grpcbalancer.PickResult{}, a.refusal(p)
	}
	e := a.pick(info)
	if c != nil && c.avoid != nil && slices.Contains(c.avoid, e.Instance().ID) {
		if e = p.avoiding(a, c.avoid, e); e == nil {
			return grpcbalancer.PickResult{}, grpcbalancer.ErrNoSubConnAvailable
		}
	}
	return e.send(p, c)
}

// answerFor returns the answer for calls with this filter. Filters are few, and
// comparing them is quicker than hashing a tree of them.
func (p *picker) answerFor(f Filter) *answer {
	if a := find(p.filtered.Load(), f); a != nil {
		return a
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	answers := p.filtered.Load()
	if a := find(answers, f); a != nil {
		return a
	}
	var next []*answer
	if answers != nil {
		next = (*answers)[max(0, len(*answers)-cachedAnswers+1):] // the oldest goes
	}
	a := &answer{filter: f, keep: f}
	if p.config.filter != nil {
		a.keep = And(p.config.filter, f)
	}
	next = append(slices.Clip(next), a)
	p.filtered.Store(&next)
	return a
}

func find(answers *[]*answer, f Filter) *answer {
	if answers == nil {
		return nil
	}
	for _, a := range *answers {
		if a.filter == f {
			return a
		}
	}
	return nil
}

// lacks reports whether a call waits for e, which this picker does not have.
func (p *picker) lacks(e *Endpoint) bool {
	if p.whole.lacks(e) {
		return true
	}
	answers := p.filtered.Load()
	return answers != nil && slices.ContainsFunc(*answers, func(a *answer) bool { return a.lacks(e) })
}

// avoiding returns an endpoint that is not to be avoided, in the place of
// picked: one that is usable or, by returning nil to wait for it, one that may
// still become so. If there is none, picked is better than nothing.
func (p *picker) avoiding(a *answer, ids []string, picked *Endpoint) *Endpoint {
	start := anyOf(len(a.usable))
	for i := range a.usable {
		e := a.usable[(start+i)%len(a.usable)]
		if !slices.Contains(ids, e.Instance().ID) {
			return e
		}
	}
	a.waits.Store(true) // before the look at the states, as in work
	for _, e := range p.endpoints {
		if !e.draining() && a.keeps(e) && !slices.Contains(ids, e.Instance().ID) && e.state() != connectivity.TransientFailure {
			return nil
		}
	}
	return picked
}
