package mdns

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/miekg/dns"

	"github.com/grpc-micro/micro/resolver"
)

const (
	// A first snapshot waits for answers, of which nobody knows how many will
	// come: until there was none for a while, or at all.
	firstAnswer = 250 * time.Millisecond
	lastAnswer  = 30 * time.Millisecond

	// Services waits longer: nothing comes after it.
	lastListed = 100 * time.Millisecond
	longest    = time.Second

	askAgain = time.Second            // for what the first question has missed
	soonest  = 200 * time.Millisecond // between questions about what seems to go
	poll     = 5 * time.Millisecond
)

// questions returns the names to ask for now, of what is watched: those to ask
// all for, and those of which something was not heard of for so long that the
// answers should come directly, as multicast gets lost. It needs mu.
func (r *Registry) questions(now time.Time) (names, doubts []string) {
	for _, s := range r.store.services {
		switch {
		case s.watches == 0 || s.next.After(now):
			continue
		case s.doubtful(now):
			doubts = append(doubts, s.subtype)
		default:
			names = append(names, s.subtype)
		}
		s.next = now.Add(r.interval(s, now))
	}
	return names, doubts
}

// nextQuestion needs mu.
func (r *Registry) nextQuestion(latest time.Time) time.Time {
	for _, s := range r.store.services {
		if s.watches > 0 {
			latest = earlier(latest, s.next)
		}
	}
	return latest
}

// interval gives everything known of s two chances to be heard of, and then some
// more in quick succession, before it expires. It needs mu.
func (r *Registry) interval(s *service, now time.Time) time.Duration {
	d := r.query
	if ttl, _ := s.freshness(); ttl > 0 {
		d = min(d, ttl/3)
		if s.doubtful(now) {
			d = max(ttl/15, soonest)
		}
	}
	return jittered(d)
}

func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // spreads load, hides nothing
}

// heard sees that s is asked for before what was heard now expires. It needs mu.
func (r *Registry) heard(name string, ttl time.Duration, now time.Time) {
	s := r.store.services[name]
	if s != nil && s.watches > 0 && ttl > 0 && s.next.After(now.Add(ttl/2)) {
		s.next = now.Add(jittered(ttl / 3))
		r.nudge(s.next)
	}
}

// doubtful reports whether something of s has missed two chances.
func (s *service) doubtful(now time.Time) bool {
	ttl, expires := s.freshness()
	return ttl > 0 && expires.Sub(now) < ttl/3
}

// overheard puts off what somebody else has asked just now: all hear the
// answers. It needs mu.
func (r *Registry) overheard(name string, now time.Time) {
	for _, s := range r.store.services {
		if s.watches == 0 || s.subtype != name {
			continue
		}
		next := now.Add(r.interval(s, now))
		if _, expires := s.freshness(); expires.IsZero() || next.Before(expires) {
			s.next = next
		}
	}
}

// settle waits, the first time that s is watched, until it is known who is
// there. Who asks so is answered directly, whatever was said to all just before.
func (r *Registry) settle(ctx context.Context, s *service) error {
	r.mu.Lock()
	complete := s.complete
	r.mu.Unlock()
	if complete {
		return nil
	}
	began := time.Now()
	if err := r.askDirect(ctx, s.subtype); err != nil {
		return err
	}
	return r.poll(ctx, func(now time.Time) bool {
		answered := s.answered.After(began) && now.Sub(s.answered) >= lastAnswer
		if answered || now.Sub(began) >= r.firstAnswer {
			s.complete = true
		}
		return s.complete
	})
}

// gather waits until all instances of all services were heard of.
func (r *Registry) gather(ctx context.Context) error {
	began := time.Now()
	if err := r.askDirect(ctx, r.names.kind); err != nil {
		return err
	}
	return r.poll(ctx, func(now time.Time) bool {
		waited := now.Sub(began)
		return waited >= r.firstAnswer && (now.Sub(r.store.answered) >= lastListed || waited >= longest)
	})
}

// askDirect asks from the direct socket, and so for answers that come there.
func (r *Registry) askDirect(ctx context.Context, name string) error {
	query, err := ask(r.id, name, dns.ClassINET|unicastWanted)
	if err != nil {
		return err
	}
	return r.net.multicast(ctx, r.net.direct, [][]byte{query})
}

// poll waits until done, which is called with mu held.
func (r *Registry) poll(ctx context.Context, done func(now time.Time) bool) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			r.mu.Lock()
			ok := done(now)
			r.mu.Unlock()
			if ok {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-r.ctx.Done():
			return resolver.ErrClosed
		}
	}
}

// look finds the interfaces that are there now. To those that have come all is
// said, and asked, anew.
func (r *Registry) look() {
	fresh, err := r.net.look()
	if err != nil || fresh {
		r.report(err)
	}
	if !fresh {
		return
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.store.own {
		r.agenda.repeats[e] = repeat{left: repeats, at: now}
	}
	for _, s := range r.store.services {
		s.next = now
	}
}

// report ends the watches when nothing can be sent: what they would see is
// instances that expire, for no other reason than that nobody is heard.
func (r *Registry) report(err error) {
	r.mu.Lock()
	before := r.trouble
	if r.trouble = err; err != nil {
		close(r.failed)
		r.failed = make(chan struct{})
	}
	r.mu.Unlock()
	switch {
	case err != nil && before == nil && r.ctx.Err() == nil:
		r.logger.Warn("mdns: cut off from the LAN, trying again until it is back", "error", err)
	case err == nil && before != nil:
		r.logger.Info("mdns: back on the LAN")
	}
}
