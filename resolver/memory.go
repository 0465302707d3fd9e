package resolver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
)

// Memory is a registry in this process, for tests and for programs whose
// services all live in one. It keeps the contract of a real one: leases that
// can end, fenced deletes, instances that are never changed in place. Its
// methods are safe for concurrent use.
type Memory struct {
	store   *memoryStore
	release func()        // gives a named store back
	done    chan struct{} // closed by Close

	live map[*memoryRegistration]bool // guarded by store.mu; neither withdrawn nor lost
}

var (
	_ Registry   = (*Memory)(nil)
	_ Editor     = (*Memory)(nil)
	_ Configurer = (*Memory)(nil)
)

// NewMemory returns an empty registry that only its holder knows. What Open
// returns for memory://name shares its content with the others of that name.
func NewMemory() *Memory { return newMemory(newMemoryStore(), func() {}) }

func newMemory(store *memoryStore, release func()) *Memory {
	return &Memory{store: store, release: release, done: make(chan struct{}), live: make(map[*memoryRegistration]bool)}
}

func openMemory(u *url.URL) (Registry, error) {
	switch {
	case u.Host == "" || u.Path != "" || u.User != nil || u.Fragment != "":
		return nil, errors.New("write memory://name, with nothing else round the name")
	case u.RawQuery != "":
		return nil, fmt.Errorf("unknown parameter %q: memory:// has none", u.RawQuery)
	}
	return newMemory(acquireStore(u.Host), func() { releaseStore(u.Host) }), nil
}

// Register implements Registrar. It does not block.
func (m *Memory) Register(ctx context.Context, insts ...*Instance) (Registration, error) {
	if err := ValidateInstances(insts...); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("resolver: register %s of %s: %w", insts[0].ID, insts[0].Service, err)
	}
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	if m.closed() {
		return nil, ErrClosed
	}
	r := &memoryRegistration{m: m, lost: make(chan struct{})}
	m.live[r] = true
	for _, inst := range insts {
		r.keys = append(r.keys, key{inst.Service, inst.ID})
		m.store.put(inst.Clone(), r)
	}
	return r, nil
}

// Watch implements Discovery.
func (m *Memory) Watch(ctx context.Context, service string) iter.Seq2[[]*Instance, error] {
	return func(yield func([]*Instance, error) bool) {
		if err := ValidateService(service); err != nil {
			yield(nil, err)
			return
		}
		s := m.store.watch(service)
		defer m.store.unwatch(service)
		for ctx.Err() == nil {
			if m.closed() {
				yield(nil, ErrClosed)
				return
			}
			snapshot, changed := m.store.look(s)
			if !yield(snapshot, nil) {
				return
			}
			select {
			case <-changed:
			case <-m.done:
			case <-ctx.Done():
			}
		}
	}
}

// Edit implements Editor. It does not block.
func (m *Memory) Edit(ctx context.Context, service, id string, change func(*Instance)) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("resolver: edit %s of %s: %w", id, service, err)
	}
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	if m.closed() {
		return ErrClosed
	}
	owner := m.store.owner(key{service, id})
	if owner == nil {
		return fmt.Errorf("resolver: edit %s of %s: there is no such instance", id, service)
	}
	insts, err := Edited(owner.held(), change)
	if err != nil {
		return err
	}
	for _, inst := range insts {
		m.store.put(inst, owner)
		owner.edits.Add(inst)
	}
	return nil
}

// Services implements Registry. It does not block.
func (m *Memory) Services(context.Context) ([]string, error) {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	if m.closed() {
		return nil, ErrClosed
	}
	var names []string
	for name, s := range m.store.services {
		if len(s.snapshot) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Close implements Registry. What was registered here is lost.
func (m *Memory) Close() error {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	if m.closed() {
		return nil
	}
	close(m.done)
	for r := range m.live {
		r.lose()
	}
	m.release()
	return nil
}

// Expire ends the lease that holds an instance, as if its process had stopped
// renewing it: all that was registered with it goes, and Lost is closed. It is
// for tests, and reports whether there was such an instance.
func (m *Memory) Expire(service, id string) bool {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	r := m.store.owner(key{service, id})
	if r == nil {
		return false
	}
	r.lose()
	return true
}

func (m *Memory) closed() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// memoryRegistration is guarded by its store's mutex.
type memoryRegistration struct {
	m     *Memory
	keys  []key
	lost  chan struct{}
	edits Edits
}

func (r *memoryRegistration) Edits() *Edits { return &r.edits }

// held returns the instances that were not taken over. It needs the store's
// mutex.
func (r *memoryRegistration) held() []*Instance {
	var insts []*Instance
	for _, k := range r.keys {
		if r.m.store.owner(k) == r {
			s := r.m.store.services[k.service]
			at, _ := s.find(k.id)
			insts = append(insts, s.snapshot[at])
		}
	}
	return insts
}

func (r *memoryRegistration) Lost() <-chan struct{} { return r.lost }

func (r *memoryRegistration) Update(ctx context.Context, insts ...*Instance) error {
	if err := ValidateInstances(insts...); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("resolver: update %s of %s: %w", insts[0].ID, insts[0].Service, err)
	}
	store := r.m.store
	store.mu.Lock()
	defer store.mu.Unlock()
	if r.m.closed() {
		return ErrClosed
	}
	if len(insts) != len(r.keys) {
		return fmt.Errorf("resolver: update with %d instances of a registration of %d: pass each of them", len(insts), len(r.keys))
	}
	for _, inst := range insts {
		switch k := (key{inst.Service, inst.ID}); {
		case !slices.Contains(r.keys, k):
			return fmt.Errorf("resolver: update: instance %s of %s is not part of this registration: register it", k.id, k.service)
		case store.owner(k) != r:
			return fmt.Errorf("resolver: update: instance %s of %s was withdrawn, lost or taken over: register it again", k.id, k.service)
		}
	}
	for _, inst := range insts {
		store.put(inst.Clone(), r)
	}
	return nil
}

func (r *memoryRegistration) Deregister(context.Context) error {
	r.m.store.mu.Lock()
	defer r.m.store.mu.Unlock()
	r.withdraw()
	return nil
}

// lose is a withdrawal that the registry decides on. It needs the store's mutex,
// and r to be live.
func (r *memoryRegistration) lose() {
	r.withdraw()
	close(r.lost)
}

// withdraw removes what r still holds, and nothing that was taken over. It needs
// the store's mutex.
func (r *memoryRegistration) withdraw() {
	delete(r.m.live, r)
	for _, k := range r.keys {
		if r.m.store.owner(k) == r {
			r.m.store.remove(k)
		}
	}
}
