package balancer

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

// urgentDials bounds how many of the endpoints that a call waits for connect
// out of turn. If none of them comes up, the next picker's answer takes others.
const urgentDials = 16

// question is what a call asks a picker: everything that its answer depends on.
type question struct {
	filter Filter        // of the call; nil: none
	tiers  Filter        // likewise
	method *methodConfig // likewise
}

// answer is what a picker says to calls with one question: a policy's picker
// over what their filters keep, or an error.
type answer struct {
	question

	picker *picker
	keep   Filter   // what all filters of the call and the connection keep; nil: everything
	tiers  []Filter // an endpoint is in the first one that keeps it

	once   sync.Once // for work, which sets:
	worked atomic.Bool
	slow   atomic.Uint32 // 0: there is a pick, and nothing else to do
	usable []*Endpoint
	pick   Picker
	err    error     // of every call, if nothing is usable
	failed *Endpoint // instead of err: whose connection's error it is

	waits atomic.Bool // calls wait for an endpoint that is not usable yet
}

func newAnswer(p *picker, q question) *answer {
	a := &answer{question: q}
	a.init(p)
	return a
}

func (a *answer) init(p *picker) {
	a.picker = p
	a.slow.Store(1)
	filters, tiers := []Filter{p.config.filter}, p.config.tiers
	if a.method != nil {
		filters = append(filters, a.method.filter)
		if a.method.tiers != nil {
			tiers = a.method.tiers
		}
	}
	if a.question.tiers != nil {
		tiers = a.question.tiers
	}
	if a.keep = And(append(filters, a.filter)...); a.keep == (all{}) {
		a.keep = nil
	}
	a.tiers = listOf(tiers)
}

// prepare works the answer out, once. Callers look at worked first: that is
// quicker than a closure for once.
func (a *answer) prepare() {
	a.once.Do(func() {
		a.work()
		if cfg := a.picker.config; a.pick != nil && a.picker.track == 0 && cfg.slowStart == nil && cfg.methods == nil {
			a.slow.Store(0)
		}
		a.worked.Store(true)
	})
}

func (a *answer) keeps(e *Endpoint) bool { return a.keep == nil || a.keep.match(e.Instance()) }

func (a *answer) lacks(e *Endpoint) bool { return a.waits.Load() && a.keeps(e) }

// untiered says that all endpoints are in one tier.
func (a *answer) untiered() bool { return len(a.tiers) == 1 && a.tiers[0] == (all{}) }

// tierOf returns the first tier that keeps an endpoint, or -1.
func (a *answer) tierOf(e *Endpoint) int {
	inst := e.Instance()
	return slices.IndexFunc(a.tiers, func(t Filter) bool { return t.match(inst) })
}

// work finds out. Endpoints that are ejected, and then those that drain, are the
// last tiers: they are looked at when no other can be used, which one that is
// connecting for the first time can.
func (a *answer) work() {
	p := a.picker
	if a.keep == nil && a.untiered() && len(p.ready) > 0 {
		a.use(p.ready)
		return
	}
	// waits is set before the states are looked at: an endpoint that becomes
	// ready now is either seen here, or sees to it that a picker is published.
	a.waits.Store(true)
	groups := a.group()
	for i := range groups {
		g := &groups[i]
		if len(g.ready) > 0 {
			a.waits.Store(false)
			a.use(g.ready)
			return
		}
		if g.waiting {
			a.err = grpcbalancer.ErrNoSubConnAvailable // grpc compares it: never wrapped
			if a.keep != nil || len(a.tiers) > 1 || p.config.subset != nil {
				p.set.hurry(g.idle)
			}
			return
		}
	}
	at := slices.IndexFunc(groups, func(g group) bool { return g.failed != nil })
	switch {
	case at >= 0:
		a.failed = groups[at].failed
	case len(p.endpoints) == 0:
		a.err = p.trouble.noInstances(p.service)
	default:
		a.err = p.trouble.beside(fmt.Errorf("balancer: none of %d instances of %s has %v", len(p.endpoints), p.service, a.wanted()))
	}
}

// group sorts endpoints by how much they are wanted.
func (a *answer) group() []group {
	tiers := len(a.tiers)
	groups := make([]group, 4*tiers)
	for _, e := range a.picker.endpoints {
		if !a.keeps(e) {
			continue
		}
		at := a.tierOf(e)
		if at < 0 {
			continue
		}
		switch {
		case e.draining():
			at += 3 * tiers
		case e.ejected.Load():
			at += 2 * tiers
		default:
			if at *= 2; !e.joined.Load() { // not in the client's subset: when no other of the tier is left
				at++
			}
		}
		groups[at].add(e)
	}
	return groups
}

// wanted is what an instance must have, for people.
func (a *answer) wanted() Filter {
	var tiers Filter
	if !a.untiered() {
		tiers = newTiers(a.tiers)
	}
	return And(a.keep, tiers)
}

func (a *answer) use(ready []*Endpoint) {
	if z := a.picker.config.zone; z != nil {
		ready = z.narrow(ready, a.known(a.tierOf(ready[0])))
	}
	a.usable = ready
	a.pick = a.picker.config.policy(ready)
}

// known counts the instances of a tier that are in the client's zone and do not
// drain, usable or not.
func (a *answer) known(tier int) int {
	n := 0
	for _, e := range a.picker.endpoints {
		if e.joined.Load() && !e.draining() && e.Instance().Zone == a.picker.config.zone.Zone && a.keeps(e) && a.tierOf(e) == tier {
			n++
		}
	}
	return n
}

// refusal is what calls fail with when there is no pick. It has no status, so
// that calls that wait for ready wait for the next picker.
func (a *answer) refusal() error {
	if a.failed == nil {
		return a.err
	}
	err := a.failed.failure()
	if err == nil { // it is coming back, and a picker with it
		return grpcbalancer.ErrNoSubConnAvailable
	}
	return a.picker.trouble.beside(err)
}

// group is what matched, by what a call can do with it.
type group struct {
	ready   []*Endpoint
	idle    []*Endpoint // some that have not begun to connect; all that are not to
	waiting bool        // there is one that has not been tried to its end
	failed  *Endpoint   // one of the others
}

func (g *group) add(e *Endpoint) {
	switch e.state() {
	case connectivity.Ready:
		g.ready = append(g.ready, e)
	case connectivity.TransientFailure:
		g.failed = e
	default:
		g.waiting = true
		if e.state() == connectivity.Idle && (len(g.idle) < urgentDials || !e.joined.Load()) {
			g.idle = append(g.idle, e)
		}
	}
}
