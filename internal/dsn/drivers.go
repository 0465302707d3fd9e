// Package dsn reads the URLs by which registries and brokers are opened: which
// driver a scheme names, and what the parameters say.
package dsn

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Drivers are the drivers of one kind by the schemes of their URLs. Its methods
// are safe for concurrent use.
type Drivers[T any] struct {
	pkg, kind, example string

	mu       sync.RWMutex // guards byScheme
	byScheme map[string]func(*url.URL) (T, error)
}

// NewDrivers returns drivers of a package ("resolver") and a kind ("registry")
// of which one is always there; example is a package that has another one.
func NewDrivers[T any](pkg, kind, example, scheme string, open func(*url.URL) (T, error)) *Drivers[T] {
	return &Drivers[T]{pkg: pkg, kind: kind, example: example, byScheme: map[string]func(*url.URL) (T, error){scheme: open}}
}

// Register adds a driver. A scheme that is registered twice panics.
func (d *Drivers[T]) Register(scheme string, open func(*url.URL) (T, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, twice := d.byScheme[scheme]; twice {
		panic(d.pkg + ": scheme " + scheme + " is registered twice")
	}
	d.byScheme[scheme] = open
}

// Open opens what a URL names. No error of it has the URL's password.
func (d *Drivers[T]) Open(rawURL string) (T, error) {
	var none T
	u, err := url.Parse(rawURL)
	if err != nil {
		return none, fmt.Errorf("%s: open %s: %w", d.pkg, d.kind, withoutPassword(err, rawURL))
	}
	d.mu.RLock()
	open := d.byScheme[u.Scheme]
	known := slices.Sorted(maps.Keys(d.byScheme))
	d.mu.RUnlock()
	if open == nil {
		return none, fmt.Errorf("%s: open %s %s: unknown scheme %q: known are %s; a driver is known once it is imported: import _ %q",
			d.pkg, d.kind, u.Redacted(), u.Scheme, strings.Join(known, ", "), d.example)
	}
	opened, err := open(u)
	if err != nil {
		return none, fmt.Errorf("%s: open %s %s: %w", d.pkg, d.kind, u.Redacted(), err)
	}
	return opened, nil
}

// withoutPassword keeps a URL that does not parse out of the error: it may hold
// a password where nobody can tell.
func withoutPassword(err error, rawURL string) error {
	if cause := errors.Unwrap(err); cause != nil && strings.Contains(rawURL, "@") {
		return fmt.Errorf("the URL is malformed: %w", cause)
	}
	return err
}
