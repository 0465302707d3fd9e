package resolver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Memory is a registry in this process, for tests and for programs whose
// services all live in one. It keeps the contract of a real one: leases that
// can end, fenced deletes, instances that are never changed in place. Its
// methods are safe for concurrent use.
type Memory struct {
	mu       sync.Mutex // guards what follows
	services map[string]*memoryService
	closed   bool
}

var _ Registry = (*Memory)(nil)

// NewMemory returns an empty registry that only its holder knows; Open with
// memory://name returns one that is shared by name.
func NewMemory() *Memory { return &Memory{services: make(map[string]*memoryService)} }

type memoryService struct {
	snapshot []*Instance                    // sorted by ID, replaced by each change and never written
	owners   map[string]*memoryRegistration // by ID
	changed  chan struct{}                  // closed by the next change
}

// service returns the entry of a name, which stays: a watch may wait on it. It
// needs m.mu.
func (m *Memory) service(name string) *memoryService {
	s := m.services[name]
	if s == nil {
		s = &memoryService{owners: make(map[string]*memoryRegistration), changed: make(chan struct{})}
		m.services[name] = s
	}
	return s
}

// set puts, replaces or, with a nil inst, removes the instance with this ID.
func (s *memoryService) set(id string, inst *Instance, owner *memoryRegistration) {
	at, found := slices.BinarySearchFunc(s.snapshot, id, func(i *Instance, id string) int { return strings.Compare(i.ID, id) })
	next := s.snapshot
	switch {
	case inst == nil && found:
		next = slices.Concat(s.snapshot[:at], s.snapshot[at+1:])
		delete(s.owners, id)
	case inst == nil:
		return
	case found && s.snapshot[at].Equal(inst):
		s.owners[id] = owner // the pointer stays: nothing to see
		return
	case found:
		next = slices.Clone(s.snapshot)
		next[at] = inst
		s.owners[id] = owner
	default:
		next = slices.Concat(s.snapshot[:at], []*Instance{inst}, s.snapshot[at:])
		s.owners[id] = owner
	}
	s.snapshot = next
	close(s.changed)
	s.changed = make(chan struct{})
}

// Register implements Registrar. It does not block.
func (m *Memory) Register(ctx context.Context, insts ...*Instance) (Registration, error) {
	if err := validate(insts); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("resolver: register %s: %w", insts[0].Service, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	r := &memoryRegistration{m: m, lost: make(chan struct{})}
	for _, inst := range insts {
		r.keys = append(r.keys, key{inst.Service, inst.ID})
		m.service(inst.Service).set(inst.ID, inst.Clone(), r)
	}
	return r, nil
}

// validate checks what a Register or an Update call was given.
func validate(insts []*Instance) error {
	if len(insts) == 0 {
		return errors.New("resolver: no instance to register: pass at least one")
	}
	seen := make(map[key]bool, len(insts))
	for _, inst := range insts {
		if inst == nil {
			return errors.New("resolver: a nil instance cannot be registered")
		}
		if err := inst.Validate(); err != nil {
			return err
		}
		if k := (key{inst.Service, inst.ID}); seen[k] {
			return fmt.Errorf("resolver: instance %s of %s is there twice: one call registers each once", inst.ID, inst.Service)
		} else {
			seen[k] = true
		}
	}
	return nil
}

// Watch implements Discovery.
func (m *Memory) Watch(ctx context.Context, service string) iter.Seq2[[]*Instance, error] {
	return func(yield func([]*Instance, error) bool) {
		if err := ValidateService(service); err != nil {
			yield(nil, err)
			return
		}
		for ctx.Err() == nil {
			m.mu.Lock()
			closed, s := m.closed, m.service(service)
			snapshot, changed := s.snapshot, s.changed
			m.mu.Unlock()
			if closed {
				yield(nil, ErrClosed)
				return
			}
			if !yield(snapshot, nil) {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// Services implements Registry.
func (m *Memory) Services(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	var names []string
	for name, s := range m.services {
		if len(s.snapshot) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Expire ends the registration that holds an instance, as the end of its lease
// would: all its instances go, and Lost is closed. It is for tests, and reports
// whether there was one.
func (m *Memory) Expire(service, id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.service(service).owners[id]
	if r == nil {
		return false
	}
	m.withdraw(r)
	close(r.lost)
	return true
}

// withdraw removes what r still holds. It needs m.mu.
func (m *Memory) withdraw(r *memoryRegistration) {
	r.ended = true
	for _, k := range r.keys {
		if s := m.service(k.service); s.owners[k.id] == r {
			s.set(k.id, nil, nil)
		}
	}
}

// Close implements Registry. What is registered is lost with it.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	ended := make(map[*memoryRegistration]bool)
	for _, s := range m.services {
		for _, r := range s.owners {
			if !ended[r] {
				ended[r] = true
				close(r.lost)
			}
		}
		close(s.changed)
		s.changed = make(chan struct{})
	}
	return nil
}

type key struct{ service, id string }

type memoryRegistration struct {
	m    *Memory
	keys []key
	lost chan struct{}

	ended bool // guarded by m.mu
}

func (r *memoryRegistration) Lost() <-chan struct{} { return r.lost }

func (r *memoryRegistration) Update(ctx context.Context, insts ...*Instance) error {
	if err := validate(insts); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("resolver: update %s: %w", insts[0].Service, err)
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if r.m.closed {
		return ErrClosed
	}
	if len(insts) != len(r.keys) {
		return fmt.Errorf("resolver: update with %d instances of a registration of %d: pass each of them", len(insts), len(r.keys))
	}
	for _, inst := range insts {
		switch k := (key{inst.Service, inst.ID}); {
		case !slices.Contains(r.keys, k):
			return fmt.Errorf("resolver: update: instance %s of %s is not part of this registration: register it", k.id, k.service)
		case r.ended || r.m.service(k.service).owners[k.id] != r:
			return fmt.Errorf("resolver: update: instance %s of %s: the registration was lost or taken over: register again", k.id, k.service)
		}
	}
	for _, inst := range insts {
		r.m.service(inst.Service).set(inst.ID, inst.Clone(), r)
	}
	return nil
}

func (r *memoryRegistration) Deregister(context.Context) error {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	r.m.withdraw(r)
	return nil
}

// named are the registries that Open shares, each with the number of its users.
var named = struct {
	sync.Mutex

	byName map[string]*namedMemory
}{byName: make(map[string]*namedMemory)}

type namedMemory struct {
	*Memory

	users int
}

func openMemory(u *url.URL) (Registry, error) {
	name := u.Host
	switch {
	case name == "" || u.Path != "" || u.User != nil:
		return nil, fmt.Errorf("write memory://name, with nothing behind the name")
	case u.RawQuery != "":
		return nil, fmt.Errorf("unknown parameter %q: memory:// has none", u.RawQuery)
	}
	named.Lock()
	defer named.Unlock()
	n := named.byName[name]
	if n == nil {
		n = &namedMemory{Memory: NewMemory()}
		named.byName[name] = n
	}
	n.users++
	return &memoryHandle{Memory: n.Memory, close: sync.OnceValue(func() error { return n.release(name) })}, nil
}

func (n *namedMemory) release(name string) error {
	named.Lock()
	defer named.Unlock()
	if n.users--; n.users > 0 {
		return nil
	}
	delete(named.byName, name)
	return n.Memory.Close()
}

// memoryHandle is one user's share of a named registry: it closes once.
type memoryHandle struct {
	*Memory

	close func() error
}

func (h *memoryHandle) Close() error { return h.close() }
