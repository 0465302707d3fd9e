package balancer

import (
	"encoding/json"
	"math/rand/v2"
	"sync/atomic"

	grpcbalancer "google.golang.org/grpc/balancer"
)

func init() {
	Register(RoundRobin, func(raw json.RawMessage) (Policy, error) {
		return roundRobin, ParseStrict(raw, &struct{}{})
	})
}

// roundRobin starts anywhere, so that a thousand clients that come up together
// do not all begin with the same instance.
func roundRobin(ready []*Endpoint) Picker {
	var next atomic.Uint32
	next.Store(rand.Uint32()) //nolint:gosec // spreads load, hides nothing
	n := uint32(len(ready))
	return func(grpcbalancer.PickInfo) *Endpoint { return ready[next.Add(1)%n] }
}
