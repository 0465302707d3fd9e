package resolver

import (
	"slices"
	"strings"
	"sync"
)

// memoryStore is what one or more Memory registries share.
type memoryStore struct {
	mu       sync.Mutex // guards what follows
	services map[string]*memoryService
	configs  map[string]string // service configs, by service
	changed  chan struct{}     // closed and replaced by each change of configs
}

func newMemoryStore() *memoryStore {
	return &memoryStore{services: make(map[string]*memoryService), configs: make(map[string]string), changed: make(chan struct{})}
}

type key struct{ service, id string }

// memoryService is there as long as it has an instance or a watch.
type memoryService struct {
	snapshot []*Instance                    // sorted by ID, replaced by each change and never written
	owners   map[string]*memoryRegistration // by ID
	changed  chan struct{}                  // closed by the next change
	watches  int
}

// service returns the entry of a name, which it makes. It needs st.mu, as all
// but watch, unwatch and look do.
func (st *memoryStore) service(name string) *memoryService {
	s := st.services[name]
	if s == nil {
		s = &memoryService{owners: make(map[string]*memoryRegistration), changed: make(chan struct{})}
		st.services[name] = s
	}
	return s
}

func (st *memoryStore) tidy(name string) {
	if s := st.services[name]; len(s.snapshot) == 0 && s.watches == 0 {
		delete(st.services, name)
	}
}

func (st *memoryStore) watch(name string) *memoryService {
	st.mu.Lock()
	defer st.mu.Unlock()
	s := st.service(name)
	s.watches++
	return s
}

func (st *memoryStore) unwatch(name string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.services[name].watches--
	st.tidy(name)
}

func (st *memoryStore) look(s *memoryService) (snapshot []*Instance, changed <-chan struct{}) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return s.snapshot, s.changed
}

// owner returns the registration that holds an instance, or nil.
func (st *memoryStore) owner(k key) *memoryRegistration {
	if s := st.services[k.service]; s != nil {
		return s.owners[k.id]
	}
	return nil
}

func (st *memoryStore) put(inst *Instance, owner *memoryRegistration) {
	s := st.service(inst.Service)
	s.owners[inst.ID] = owner
	switch at, found := s.find(inst.ID); {
	case !found:
		s.change(slices.Concat(s.snapshot[:at], []*Instance{inst}, s.snapshot[at:]))
	case !s.snapshot[at].Equal(inst): // else the pointer stays: there is nothing to see
		next := slices.Clone(s.snapshot)
		next[at] = inst
		s.change(next)
	}
}

// remove needs k to have an owner.
func (st *memoryStore) remove(k key) {
	s := st.services[k.service]
	delete(s.owners, k.id)
	at, _ := s.find(k.id)
	s.change(slices.Concat(s.snapshot[:at], s.snapshot[at+1:]))
	st.tidy(k.service)
}

func (s *memoryService) find(id string) (at int, found bool) {
	return slices.BinarySearchFunc(s.snapshot, id, func(i *Instance, id string) int { return strings.Compare(i.ID, id) })
}

func (s *memoryService) change(next []*Instance) {
	s.snapshot = next
	close(s.changed)
	s.changed = make(chan struct{})
}

// named are the stores that Open shares, each with the number of its users.
var named = struct {
	sync.Mutex // taken while a store's own is held, never the other way round

	byName map[string]*namedStore
}{byName: make(map[string]*namedStore)}

type namedStore struct {
	*memoryStore

	users int
}

func acquireStore(name string) *memoryStore {
	named.Lock()
	defer named.Unlock()
	n := named.byName[name]
	if n == nil {
		n = &namedStore{memoryStore: newMemoryStore()}
		named.byName[name] = n
	}
	n.users++
	return n.memoryStore
}

// releaseStore forgets a store with its last user, so that the name begins
// empty again.
func releaseStore(name string) {
	named.Lock()
	defer named.Unlock()
	n := named.byName[name]
	if n.users--; n.users == 0 {
		delete(named.byName, name)
	}
}
