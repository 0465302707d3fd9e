package balancer

import (
	"encoding/json"
	"math/rand/v2"

	grpcbalancer "google.golang.org/grpc/balancer"
)

func init() {
	Register(Random, func(raw json.RawMessage) (Policy, error) {
		return random, ParseStrict(raw, &struct{}{})
	})
}

func random(ready []*Endpoint) Picker {
	return func(grpcbalancer.PickInfo) *Endpoint {
		return ready[rand.IntN(len(ready))] //nolint:gosec // spreads load, hides nothing
	}
}
