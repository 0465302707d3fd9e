package pubsub

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

var drivers = struct {
	sync.RWMutex

	byScheme map[string]func(*url.URL) (Broker, error)
}{byScheme: map[string]func(*url.URL) (Broker, error){"memory": openMemory}}

// RegisterScheme makes [Open] answer URLs of scheme by open. Drivers call it in
// their init; a scheme that is registered twice panics, as in database/sql.
func RegisterScheme(scheme string, open func(*url.URL) (Broker, error)) {
	drivers.Lock()
	defer drivers.Unlock()
	if _, twice := drivers.byScheme[scheme]; twice {
		panic("pubsub: scheme " + scheme + " is registered twice")
	}
	drivers.byScheme[scheme] = open
}

// Open returns the broker that a URL names. It does not wait for its servers:
// one that is away shows in the calls.
//
//	memory://name?partitions=8&retention=65536   in this process, the same for each Open of the name
//	kafka://h1:9092,h2:9092                      with package pubsub/kafka imported
//
// An unknown scheme or parameter is an error. The caller closes the broker.
func Open(rawURL string) (Broker, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("pubsub: open broker: %w", withoutPassword(err, rawURL))
	}
	drivers.RLock()
	open := drivers.byScheme[u.Scheme]
	known := slices.Sorted(maps.Keys(drivers.byScheme))
	drivers.RUnlock()
	if open == nil {
		return nil, fmt.Errorf("pubsub: open broker %s: unknown scheme %q: known are %s; a driver is known once it is imported: import _ \"github.com/grpc-micro/micro/pubsub/kafka\"",
			u.Redacted(), u.Scheme, strings.Join(known, ", "))
	}
	b, err := open(u)
	if err != nil {
		return nil, fmt.Errorf("pubsub: open broker %s: %w", u.Redacted(), err)
	}
	return b, nil
}

// withoutPassword keeps a URL that does not parse out of the error: it may hold
// a password where nobody can tell.
func withoutPassword(err error, rawURL string) error {
	if cause := errors.Unwrap(err); cause != nil && strings.Contains(rawURL, "@") {
		return fmt.Errorf("the URL is malformed: %w", cause)
	}
	return err
}
