// Package methods keeps what an interceptor knows of a method, so that it is made
// once and not in each call.
package methods

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// Table finds a T by the full name of a method, such as
// "/greeter.v1.Greeter/SayHello", without a lock and without allocating. It is
// for names that the program decides on: it keeps every one that it was asked.
// It is safe for concurrent use, once New is set.
type Table[T any] struct {
	New func(fullMethod string) *T // makes what is not there yet

	mu     sync.Mutex // held by who adds one
	byName atomic.Pointer[map[string]*T]
}

// Get returns the T of the method, the same one each time.
func (t *Table[T]) Get(fullMethod string) *T {
	if v := t.All()[fullMethod]; v != nil {
		return v
	}
	return t.add(strings.Clone(fullMethod))
}

// add replaces the map by one that has one more, for it may be read meanwhile.
func (t *Table[T]) add(fullMethod string) *T {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.All()
	if v := old[fullMethod]; v != nil {
		return v
	}
	v := t.New(fullMethod)
	byName := make(map[string]*T, len(old)+1)
	maps.Copy(byName, old)
	byName[fullMethod] = v
	t.byName.Store(&byName)
	return v
}

// All returns what there is; it must not be changed.
func (t *Table[T]) All() map[string]*T {
	if all := t.byName.Load(); all != nil {
		return *all
	}
	return nil
}

// Unknown is Split's answer where there is none, as in go-grpc-middleware.
const Unknown = "unknown"

// Split returns the two parts of a full method, or Unknown twice.
func Split(fullMethod string) (service, method string) {
	service, method, ok := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	if !ok {
		return Unknown, Unknown
	}
	return service, method
}
