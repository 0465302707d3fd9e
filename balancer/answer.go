package balancer

import (
	"fmt"
	"sync"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

// urgentDials bounds how many of the endpoints that a call waits for connect
// out of turn. If none of them comes up, the next picker's answer takes others.
const urgentDials = 16

// answer is what a picker says to calls with one filter: a policy's picker over
// what the filter keeps, or an error.
type answer struct {
	filter Filter // of the calls, by which the answer is found; nil: none
	keep   Filter // that and the connection's; nil: everything

	once   sync.Once // for work, which sets:
	worked atomic.Bool
	quick  atomic.Bool // there is a pick, and nothing else to do
	usable []*Endpoint
	pick   Picker
	err    error     // of every call, if nothing is usable
	failed *Endpoint // instead of err: whose connection's error it is

	waits atomic.Bool // calls wait for an endpoint that is not usable yet
}

// prepare works the answer out, once. Callers look at worked first: that is
// quicker than a closure for once.
func (a *answer) prepare(p *picker) {
	a.once.Do(func() {
		a.work(p)
		a.quick.Store(a.pick != nil && p.track == 0)
		a.worked.Store(true)
	})
}

func (a *answer) keeps(e *Endpoint) bool { return a.keep == nil || a.keep.match(e.Instance()) }

func (a *answer) lacks(e *Endpoint) bool { return a.waits.Load() && a.keeps(e) }

// work finds out. Draining endpoints are the last tier: they are looked at when
// no other can be used, which one that is connecting for the first time can.
func (a *answer) work(p *picker) {
	if a.keep == nil && len(p.ready) > 0 {
		a.use(p, p.ready)
		return
	}
	// waits is set before the states are looked at: an endpoint that becomes
	// ready now is either seen here, or sees to it that a picker is published.
	a.waits.Store(true)
	var tiers [2]tier
	for _, e := range p.endpoints {
		switch {
		case !a.keeps(e):
		case e.draining():
			tiers[1].add(e)
		default:
			tiers[0].add(e)
		}
	}
	for i := range tiers {
		t := &tiers[i]
		if len(t.ready) > 0 {
			a.waits.Store(false)
			a.use(p, t.ready)
			return
		}
		if t.waiting {
			a.err = grpcbalancer.ErrNoSubConnAvailable // grpc compares it: never wrapped
			if a.keep != nil {
				p.set.hurry(t.idle)
			}
			return
		}
	}
	switch {
	case tiers[0].failed != nil:
		a.failed = tiers[0].failed
	case tiers[1].failed != nil:
		a.failed = tiers[1].failed
	case len(p.endpoints) == 0:
		a.err = p.trouble.noInstances(p.service)
	default:
		a.err = p.trouble.beside(fmt.Errorf("balancer: none of %d instances of %s has %v", len(p.endpoints), p.service, a.keep))
	}
}

func (a *answer) use(p *picker, ready []*Endpoint) {
	a.usable = ready
	a.pick = p.config.policy(ready)
}

// refusal is what calls fail with when there is no pick. It has no status, so
// that calls that wait for ready wait for the next picker.
func (a *answer) refusal(p *picker) error {
	if a.failed == nil {
		return a.err
	}
	err := a.failed.failure()
	if err == nil { // it is coming back, and a picker with it
		return grpcbalancer.ErrNoSubConnAvailable
	}
	return p.trouble.beside(err)
}

// tier is what matched, by what a call can do with it.
type tier struct {
	ready   []*Endpoint
	idle    []*Endpoint // some that have not begun to connect
	waiting bool        // there is one that has not been tried to its end
	failed  *Endpoint   // one of the others
}

func (t *tier) add(e *Endpoint) {
	switch e.state() {
	case connectivity.Ready:
		t.ready = append(t.ready, e)
	case connectivity.TransientFailure:
		t.failed = e
	default:
		t.waiting = true
		if e.state() == connectivity.Idle && len(t.idle) < urgentDials {
			t.idle = append(t.idle, e)
		}
	}
}
