package pubsub

import (
	"net/url"

	"github.com/grpc-micro/micro/internal/dsn"
)

var drivers = dsn.NewDrivers("pubsub", "broker", "github.com/grpc-micro/micro/pubsub/kafka", "memory", openMemory)

// RegisterScheme makes [Open] answer URLs of scheme by open. Drivers call it in
// their init; a scheme that is registered twice panics, as in database/sql.
func RegisterScheme(scheme string, open func(*url.URL) (Broker, error)) {
	drivers.Register(scheme, open)
}

// Open returns the broker that a URL names. It does not wait for its servers:
// one that is away shows in the calls.
//
//	memory://name?partitions=8&retention=65536   in this process, the same for each Open of the name
//	kafka://h1:9092,h2:9092                      with package pubsub/kafka imported
//	nats://h1:4222,h2:4222                       with package pubsub/nats imported
//
// An unknown scheme or parameter is an error. The caller closes the broker.
func Open(rawURL string) (Broker, error) { return drivers.Open(rawURL) }
