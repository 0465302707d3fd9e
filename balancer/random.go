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
	return func(grpcbalancer.PickInfo) *Endpoint { return ready[anyOf(len(ready))] }
}

// anyOf returns a number below n.
func anyOf(n int) int {
	return int(uint64(rand.Uint32()) * uint64(uint32(n)) >> 32) //nolint:gosec // spreads load, hides nothing
}
