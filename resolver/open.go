package resolver

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Scheme is the scheme of targets that NewBuilder resolves: micro:///name.
const Scheme = "micro"

// ErrClosed ends the watches of a registry that was closed, and is what its
// other methods return. A driver may wrap it.
var ErrClosed = errors.New("resolver: the registry is closed")

var drivers = struct {
	sync.RWMutex

	byScheme map[string]func(*url.URL) (Registry, error)
}{byScheme: map[string]func(*url.URL) (Registry, error){"memory": openMemory}}

// RegisterScheme makes Open answer URLs of scheme by open. Drivers call it in
// their init; a scheme that is registered twice panics, as in database/sql.
func RegisterScheme(scheme string, open func(*url.URL) (Registry, error)) {
	drivers.Lock()
	defer drivers.Unlock()
	if _, twice := drivers.byScheme[scheme]; twice {
		panic("resolver: scheme " + scheme + " is registered twice")
	}
	drivers.byScheme[scheme] = open
}

// Open returns the registry that a URL names. It does not wait for its
// servers: one that is away shows in the calls.
//
//	memory://name                           in this process, the same for each Open of the name
//	etcd://h1:2379,h2:2379/prefix           with package resolver/etcd imported
//
// An unknown scheme or parameter is an error. The caller closes the registry.
func Open(rawURL string) (Registry, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("resolver: open registry: %w", withoutPassword(err, rawURL))
	}
	drivers.RLock()
	open := drivers.byScheme[u.Scheme]
	known := slices.Sorted(maps.Keys(drivers.byScheme))
	drivers.RUnlock()
	if open == nil {
		return nil, fmt.Errorf("resolver: open registry %s: unknown scheme %q: known are %s; a driver is known once it is imported: import _ \"github.com/grpc-micro/micro/resolver/etcd\"",
			u.Redacted(), u.Scheme, strings.Join(known, ", "))
	}
	reg, err := open(u)
	if err != nil {
		return nil, fmt.Errorf("resolver: open registry %s: %w", u.Redacted(), err)
	}
	return reg, nil
}

// withoutPassword keeps a URL that does not parse out of the error: it may hold
// a password where nobody can tell.
func withoutPassword(err error, rawURL string) error {
	if cause := errors.Unwrap(err); cause != nil && strings.Contains(rawURL, "@") {
		return fmt.Errorf("the URL is malformed: %w", cause)
	}
	return err
}
