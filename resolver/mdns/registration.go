package mdns

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/grpc-micro/micro/resolver"
)

// registration is guarded by the registry's mutex.
type registration struct {
	r       *Registry
	what    string // the first instance, for errors
	entries []*entry
	lost    chan struct{}
	unsaid  bool // nobody was told of the withdrawal
}

// enter takes insts into the store, all or none. Each gets names that nobody has
// had before.
func (g *registration) enter(insts []*resolver.Instance) error {
	r := g.r
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, inst := range insts {
		r.numbers++
		e := &entry{
			name: r.names.instance(inst.ID, r.token, r.numbers), host: r.names.host(r.token, r.numbers),
			subtype: r.names.subtype(inst.Service), inst: inst.Clone(), owner: g, since: time.Now().UnixMicro(),
		}
		// Of all that was heard of the ID this is the latest, whatever the clocks
		// of others say.
		if h := r.store.holder(inst.Service, inst.ID); h != nil {
			e.since = max(e.since, h.since+1)
		}
		if err := g.write(e); err != nil {
			return err
		}
		g.entries = append(g.entries, e)
	}
	for _, e := range g.entries {
		r.store.own[e.name] = e
		r.store.add(e)
	}
	r.live[g] = true
	return nil
}

// write makes the records of an entry.
func (g *registration) write(e *entry) error {
	records, err := g.r.names.records(e, g.r.ttl)
	if err != nil {
		return fmt.Errorf("mdns: encode instance %s of %s: %w", e.inst.ID, e.inst.Service, err)
	}
	e.records = records
	return fits(e)
}

// leave takes the entries out again, so that the next announcement of them is a
// goodbye.
func (g *registration) leave() {
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	g.withdraw()
}

// withdraw needs the registry's mutex.
func (g *registration) withdraw() {
	delete(g.r.live, g)
	for _, e := range g.entries {
		if !e.gone {
			e.gone = true
			delete(g.r.store.own, e.name)
			g.r.store.remove(e)
		}
	}
}

// Lost implements resolver.Registration. It is closed by Close only: a
// registration is in this process, and lasts as long.
func (g *registration) Lost() <-chan struct{} { return g.lost }

// Update implements resolver.Registration. An update that fails on the network
// stands all the same, and is announced when that is back.
func (g *registration) Update(ctx context.Context, insts ...*resolver.Instance) error {
	if err := resolver.ValidateInstances(insts...); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mdns: update %s: %w", g.what, err)
	}
	if err := g.r.begin(); err != nil {
		return err
	}
	defer g.r.calls.Done()
	changed, err := g.change(insts)
	if err != nil {
		return err
	}
	if err := g.r.announce(ctx, changed); err != nil {
		return fmt.Errorf("mdns: update %s: %w", g.what, err)
	}
	return nil
}

// change takes insts into the store, all or none, and returns the entries that
// are not what they were.
func (g *registration) change(insts []*resolver.Instance) ([]*entry, error) {
	r := g.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(insts) != len(g.entries) {
		return nil, fmt.Errorf("mdns: update with %d instances of a registration of %d: pass each of them", len(insts), len(g.entries))
	}
	var changed []*entry
	var next []entry
	for _, inst := range insts {
		at := slices.IndexFunc(g.entries, func(e *entry) bool { return e.inst.Service == inst.Service && e.inst.ID == inst.ID })
		if at < 0 {
			return nil, fmt.Errorf("mdns: update: instance %s of %s is not part of this registration: register it", inst.ID, inst.Service)
		}
		e := g.entries[at]
		if e.gone {
			return nil, fmt.Errorf("mdns: update: instance %s of %s was withdrawn: register it again", inst.ID, inst.Service)
		}
		if h := r.store.holder(inst.Service, inst.ID); h != e {
			return nil, fmt.Errorf("mdns: update: instance %s of %s was taken over by %s: register it again, or choose another ID", inst.ID, inst.Service, h.name)
		}
		if inst.Equal(e.inst) {
			continue
		}
		n := *e
		n.inst, n.change = inst.Clone(), e.change+1
		if err := g.write(&n); err != nil {
			return nil, err
		}
		changed, next = append(changed, e), append(next, n)
	}
	for i, e := range changed {
		e.inst, e.change, e.records = next[i].inst, next[i].change, next[i].records
		r.store.services[e.inst.Service].show(e.inst.ID)
	}
	return changed, nil
}

// Deregister implements resolver.Registration. It says goodbye to what this
// registration has announced, by names that no other one has: that is what
// fences it. If no network interface takes the goodbye, the instances expire;
// calling it again tries again.
func (g *registration) Deregister(ctx context.Context) error {
	if g.r.begin() != nil {
		return nil // Close has said it
	}
	defer g.r.calls.Done()
	g.r.mu.Lock()
	if g.r.live[g] {
		g.withdraw()
		g.unsaid = true
	}
	unsaid := g.unsaid
	g.r.mu.Unlock()
	if !unsaid {
		return nil
	}
	if err := g.r.announce(ctx, g.entries); err != nil {
		return fmt.Errorf("mdns: deregister %s, which expires in %v: %w", g.what, g.r.ttl, err)
	}
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	g.unsaid = false
	return nil
}
