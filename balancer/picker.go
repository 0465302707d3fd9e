package balancer

import (
	"slices"
	"sync"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

// cachedAnswers bounds how many answers a picker remembers.
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

	whole answer // to calls that say nothing

	mu      sync.Mutex // serializes the additions to answers
	answers atomic.Pointer[[]*answer]
}

// Pick implements grpc's Picker. It has only what a call needs that says nothing,
// and no more code than that: it is compared with a round robin of 6 ns.
func (p *picker) Pick(info grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	if used.Load()|p.whole.slow.Load() != 0 {
		return p.pickSaid(info)
	}
	e := p.whole.pick(info)
	if child := e.child.Load(); child.sub != nil {
		return grpcbalancer.PickResult{SubConn: child.sub}, nil
	}
	return e.send(p, nil)
}

// pickSaid picks for a call that may say something in its context.
func (p *picker) pickSaid(info grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	a := &p.whole
	var c *call
	if used.Load() != 0 {
		if c, _ = info.Ctx.Value(theCallKey).(*call); c != nil {
			a = c.answer.Load()
		}
	}
	if a == nil || a.picker != p || a.slow.Load() != 0 || c != nil && (c.avoid != nil || c.probe != nil) {
		return p.pick(info, c)
	}
	e := a.pick(info)
	if child := e.child.Load(); child.sub != nil {
		return grpcbalancer.PickResult{SubConn: child.sub}, nil
	}
	return e.send(p, c)
}

// pick picks for a call that says c, or nothing.
func (p *picker) pick(info grpcbalancer.PickInfo, c *call) (grpcbalancer.PickResult, error) {
	a := p.answerTo(info, c)
	if !a.worked.Load() {
		a.prepare()
	}
	if c != nil && c.probe != nil {
		return grpcbalancer.PickResult{}, c.probe.look(a)
	}
	if a.pick == nil {
		return grpcbalancer.PickResult{}, a.refusal()
	}
	e := a.pick(info)
	if s := p.config.slowStart; s != nil {
		for n := 1; n < slowTries && !s.admits(e); n++ {
			e = a.pick(info)
		}
	}
	if c != nil && c.avoid != nil && slices.Contains(c.avoid, e.Instance().ID) {
		if e = p.avoiding(a, c.avoid, e); e == nil {
			return grpcbalancer.PickResult{}, grpcbalancer.ErrNoSubConnAvailable
		}
	}
	return e.send(p, c)
}

// answerTo returns the answer to a call.
func (p *picker) answerTo(info grpcbalancer.PickInfo, c *call) *answer {
	var q question
	if p.config.methods != nil {
		q.method = p.config.method(info.FullMethodName)
	}
	if c == nil {
		if q.method == nil {
			return &p.whole
		}
		return p.answerFor(q)
	}
	q.filter, q.tiers = c.filter, c.tiers
	if q == (question{}) {
		c.remember(&p.whole)
		return &p.whole
	}
	last := c.answer.Load()
	if last != nil && last.picker == p && last.method == q.method {
		return last
	}
	a := p.answerFor(q)
	c.remember(a)
	return a
}

// remember keeps an answer with the call's choices. A context that goes to
// several channels is left to the first one: it would change hands at each call,
// and processors with it. Answers that differ by method are not for all calls.
func (c *call) remember(a *answer) {
	if a.picker.config.methods != nil {
		return
	}
	if last := c.answer.Load(); last == nil || last.picker.set == a.picker.set {
		c.answer.Store(a)
	}
}

// answerFor returns the answer to a question. Questions are few, and comparing
// them is quicker than hashing a tree of filters.
func (p *picker) answerFor(q question) *answer {
	if a := find(p.answers.Load(), q); a != nil {
		return a
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	answers := p.answers.Load()
	if a := find(answers, q); a != nil {
		return a
	}
	var next []*answer
	if answers != nil {
		next = (*answers)[max(0, len(*answers)-cachedAnswers+1):] // the oldest goes
	}
	a := newAnswer(p, q)
	next = append(slices.Clip(next), a)
	p.answers.Store(&next)
	return a
}

func find(answers *[]*answer, q question) *answer {
	if answers == nil {
		return nil
	}
	for _, a := range *answers {
		if a.question == q {
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
	answers := p.answers.Load()
	return answers != nil && slices.ContainsFunc(*answers, func(a *answer) bool { return a.lacks(e) })
}

// avoiding returns an endpoint that is not to be avoided, in the place of
// picked: one of the same tier that is connected, in whatever zone, or, by
// returning nil to wait for it, one that may still become so. If there is none,
// picked is better than nothing.
func (p *picker) avoiding(a *answer, ids []string, picked *Endpoint) *Endpoint {
	suits := func(e *Endpoint) bool { return !slices.Contains(ids, e.Instance().ID) }
	if e := anyThat(a.usable, suits); e != nil {
		return e
	}
	a.waits.Store(true) // before the look at the states, as in work
	tier, waiting := a.tierOf(picked), false
	e := anyThat(p.endpoints, func(e *Endpoint) bool {
		if !suits(e) || !e.joined.Load() || e.draining() || e.ejected.Load() || !a.keeps(e) || a.tierOf(e) != tier {
			return false
		}
		waiting = waiting || e.state() != connectivity.Ready && e.state() != connectivity.TransientFailure
		return e.state() == connectivity.Ready
	})
	switch {
	case e != nil:
		return e
	case waiting:
		return nil
	}
	return picked
}

// anyThat returns an endpoint that suits, or nil.
func anyThat(endpoints []*Endpoint, suits func(*Endpoint) bool) *Endpoint {
	start := anyOf(len(endpoints))
	for i := range endpoints {
		if e := endpoints[(start+i)%len(endpoints)]; suits(e) {
			return e
		}
	}
	return nil
}
