package mdns

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/grpc-micro/micro/resolver"
)

// maxHeard bounds what is kept of others: anyone on the LAN can announce.
const maxHeard = 16384

// remembered is how long a goodbye is, at least: what was sent before it may
// arrive after it, by another way through the LAN.
const remembered = 10 * time.Second

// store is what is known of the LAN, this process included. The registry's mutex
// guards all of it.
type store struct {
	names    names
	services map[string]*service // by name
	heard    map[string]*entry   // of others, by DNS name
	own      map[string]*entry   // likewise
	expiry   time.Time           // nothing heard expires before
	answered time.Time           // when anything was heard, last
}

// entry is one announcement: an instance, by one registration.
type entry struct {
	name    string // in DNS; unique to the registration
	subtype string
	host    string
	inst    *resolver.Instance // immutable, replaced by a change
	since   int64
	change  int64
	gone    bool // withdrawn: kept so that nothing late brings it back

	// Of what others announce.
	ttl     time.Duration
	expires time.Time

	// Of our own.
	owner   *registration
	records []dns.RR
	sent    time.Time // to all, last
}

// service is there as long as something is known of it, or it is watched.
type service struct {
	name     string
	subtype  string            // under which to ask for it
	claims   map[string]*claim // by ID
	snapshot []*resolver.Instance
	stale    bool          // snapshot is
	changed  chan struct{} // closed by the next change

	watches  int
	complete bool      // whoever is there has had the time to answer
	answered time.Time // when one was heard of, last
	next     time.Time // when to ask again
}

// claim is an ID, for which several registrations may stand.
type claim struct {
	entries []*entry
	shown   *resolver.Instance
}

func newStore(n names) store {
	return store{names: n, services: make(map[string]*service), heard: make(map[string]*entry), own: make(map[string]*entry)}
}

// service returns the service of a name, which it makes.
func (st *store) service(name string) *service {
	s := st.services[name]
	if s == nil {
		s = &service{name: name, subtype: st.names.subtype(name), claims: make(map[string]*claim), changed: make(chan struct{})}
		st.services[name] = s
	}
	return s
}

// add lets an entry stand for its ID.
func (st *store) add(e *entry) {
	s := st.service(e.inst.Service)
	c := s.claims[e.inst.ID]
	if c == nil {
		c = new(claim)
		s.claims[e.inst.ID] = c
	}
	c.entries = append(c.entries, e)
	s.show(e.inst.ID)
}

// remove is the reverse; it does nothing the second time.
func (st *store) remove(e *entry) {
	s := st.services[e.inst.Service]
	if s == nil || s.claims[e.inst.ID] == nil {
		return
	}
	c := s.claims[e.inst.ID]
	c.entries = slices.DeleteFunc(c.entries, func(other *entry) bool { return other == e })
	s.show(e.inst.ID)
	st.tidy(s)
}

func (st *store) tidy(s *service) {
	if len(s.claims) == 0 && s.watches == 0 {
		delete(st.services, s.name)
	}
}

// holder returns the entry that stands for an ID now, or nil.
func (st *store) holder(service, id string) *entry {
	if s := st.services[service]; s != nil && s.claims[id] != nil {
		return s.claims[id].latest()
	}
	return nil
}

// show brings what is seen of an ID in line with who stands for it. What did not
// change keeps its pointer, even when another registration says it.
func (s *service) show(id string) {
	c := s.claims[id]
	var inst *resolver.Instance
	if e := c.latest(); e != nil {
		inst = e.inst
	} else {
		delete(s.claims, id)
	}
	if !inst.Equal(c.shown) {
		c.shown, s.stale = inst, true
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// latest is by the clock of who registered, which a registration sets beyond
// what it has heard; the names decide between two that never heard of each other.
func (c *claim) latest() *entry {
	var latest *entry
	for _, e := range c.entries {
		if latest == nil || cmp.Or(cmp.Compare(e.since, latest.since), strings.Compare(e.name, latest.name)) > 0 {
			latest = e
		}
	}
	return latest
}

// look returns the instances, sorted by ID, in a slice that is never written.
func (s *service) look() []*resolver.Instance {
	if s.stale {
		s.stale, s.snapshot = false, make([]*resolver.Instance, 0, len(s.claims))
		for _, c := range s.claims {
			s.snapshot = append(s.snapshot, c.shown)
		}
		slices.SortFunc(s.snapshot, func(a, b *resolver.Instance) int { return strings.Compare(a.ID, b.ID) })
	}
	return s.snapshot
}

// hear takes what another process has announced. It reports false when there is
// no more room.
func (st *store) hear(a announcement, now time.Time) bool {
	e := st.heard[a.name]
	switch {
	case e == nil && len(st.heard) >= maxHeard:
		return false
	case e == nil:
		e = &entry{name: a.name, inst: a.inst, since: a.since, change: a.change}
		st.heard[a.name] = e
		if a.ttl > 0 {
			st.add(e)
		}
	case e.gone || a.change < e.change || a.since != e.since || a.inst.Service != e.inst.Service || a.inst.ID != e.inst.ID:
		return true // too late, or an impostor
	case a.change > e.change:
		e.change = a.change
		if !a.inst.Equal(e.inst) {
			e.inst = a.inst
			st.services[e.inst.Service].show(e.inst.ID)
		}
	}
	e.ttl, e.expires = a.ttl, now.Add(a.ttl)
	if a.ttl == 0 {
		e.gone, e.expires = true, now.Add(remembered)
		st.remove(e)
	} else {
		st.answered, st.services[e.inst.Service].answered = now, now
	}
	if st.expiry.IsZero() || e.expires.Before(st.expiry) {
		st.expiry = e.expires
	}
	return true
}

// expire forgets what was not heard of for its time to live.
func (st *store) expire(now time.Time) {
	if st.expiry.IsZero() || st.expiry.After(now) {
		return
	}
	st.expiry = time.Time{}
	for name, e := range st.heard {
		switch {
		case !e.expires.After(now):
			delete(st.heard, name)
			st.remove(e)
		case st.expiry.IsZero() || e.expires.Before(st.expiry):
			st.expiry = e.expires
		}
	}
}

// freshness returns the shortest time to live among what others announce of the
// service, and when the first of it expires; zero, if there is nothing.
func (s *service) freshness() (ttl time.Duration, expires time.Time) {
	for _, c := range s.claims {
		for _, e := range c.entries {
			if e.owner != nil {
				continue
			}
			if ttl == 0 || e.ttl < ttl {
				ttl = e.ttl
			}
			if expires.IsZero() || e.expires.Before(expires) {
				expires = e.expires
			}
		}
	}
	return ttl, expires
}
