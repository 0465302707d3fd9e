package resolver

import (
	"errors"
	"net/url"

	"github.com/grpc-micro/micro/internal/dsn"
)

// Scheme is the scheme of targets that NewBuilder resolves: micro:///name.
const Scheme = "micro"

// ErrClosed ends the watches of a registry that was closed, and is what its
// other methods return. A driver may wrap it.
var ErrClosed = errors.New("resolver: the registry is closed")

var drivers = dsn.NewDrivers("resolver", "registry", "github.com/grpc-micro/micro/resolver/etcd", "memory", openMemory)

// RegisterScheme makes Open answer URLs of scheme by open. Drivers call it in
// their init; a scheme that is registered twice panics, as in database/sql.
func RegisterScheme(scheme string, open func(*url.URL) (Registry, error)) {
	drivers.Register(scheme, open)
}

// Open returns the registry that a URL names. It does not wait for its
// servers: one that is away shows in the calls.
//
//	memory://name                           in this process, the same for each Open of the name
//	etcd://h1:2379,h2:2379/prefix           with package resolver/etcd imported
//	mdns://eth0                             with package resolver/mdns imported
//
// An unknown scheme or parameter is an error. The caller closes the registry.
func Open(rawURL string) (Registry, error) { return drivers.Open(rawURL) }
