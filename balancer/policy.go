package balancer

import (
	"bytes"
	"encoding/json"

	grpcbalancer "google.golang.org/grpc/balancer"
)

// The policies of this package, by their names in a service config.
const (
	RoundRobin   = "micro_round_robin"     // each in turn
	Random       = "micro_random"          // any
	Weighted     = "micro_weighted"        // each in proportion to its weight in the registry
	LeastRequest = "micro_least_request"   // of a few random ones the one with the fewest calls in flight
	P2C          = "micro_p2c_ewma"        // of two random ones the one with the lower latency times calls in flight
	Hash         = "micro_consistent_hash" // the one that the call's key belongs to
)

// Policy makes a Picker among instances that are connected. It is called
// lazily, once for a set of instances and a filter, so it may take its time;
// ready is not empty, and must not be written. What has to outlive the set
// lives in the Endpoints.
type Policy func(ready []*Endpoint) Picker

// Picker picks one of the endpoints that its Policy was given. It is called
// for each call, at once from many goroutines, and must not block or allocate.
type Picker func(info grpcbalancer.PickInfo) *Endpoint

// PolicyOption says what a policy wants to know of endpoints.
type PolicyOption func(*builder)

// TrackInFlight counts the calls under way to each endpoint.
func TrackInFlight() PolicyOption { return trackAlso(trackInFlight) }

// TrackLatency measures how long each endpoint takes to answer, and counts the
// calls under way. The times of streams are not measured if their context says
// that they are streams (WithStream): how long one lives is no latency.
func TrackLatency() PolicyOption { return trackAlso(trackInFlight | trackLatency) }

func trackAlso(t tracking) PolicyOption { return func(b *builder) { b.track |= t } }

// Register registers a policy under the name that service configs use, in an
// init function. parse gets the policy's own part of the config, never empty
// ("{}" at the least), and refuses what it does not know. See ParseStrict.
func Register(name string, parse func(config json.RawMessage) (Policy, error), opts ...PolicyOption) {
	b := &builder{name: name, parse: parse}
	for _, opt := range opts {
		opt(b)
	}
	grpcbalancer.Register(b)
}

// ParseStrict unmarshals a policy's config, and names a field that it does not
// have.
func ParseStrict(config json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

type builder struct {
	name  string
	parse func(json.RawMessage) (Policy, error)
	track tracking
	keyed bool // where a call goes depends on it, and not on chance
}

var _ grpcbalancer.ConfigParser = (*builder)(nil)

func (b *builder) Name() string { return b.name }
