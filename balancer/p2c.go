package balancer

import (
	"encoding/json"
	"math/rand/v2"

	grpcbalancer "google.golang.org/grpc/balancer"
)

func init() {
	Register(P2C, func(raw json.RawMessage) (Policy, error) {
		return p2c, ParseStrict(raw, &struct{}{})
	}, TrackLatency())
}

// p2c compares two random endpoints and takes the one where a call would be
// done sooner. One call in 64 takes the first of the two unseen, so that an
// instance that was slow is tried again: without, it would stay slow for ever
// in the books of those who no longer call it.
func p2c(ready []*Endpoint) Picker {
	if len(ready) == 1 {
		return func(grpcbalancer.PickInfo) *Endpoint { return ready[0] }
	}
	n := uint64(len(ready))
	return func(grpcbalancer.PickInfo) *Endpoint {
		r := rand.Uint64() //nolint:gosec // spreads load, hides nothing
		i, j := (r>>32)*n>>32, (r&(1<<32-1))*(n-1)>>32
		if j >= i {
			j++
		}
		if a, b := ready[i], ready[j]; r%64 == 0 || !b.sooner(a) {
			return a
		}
		return ready[j]
	}
}

// sooner compares latency times the calls in flight. One of which no latency is
// known yet is compared by the calls alone: a new instance is to have its
// share, not everything.
func (e *Endpoint) sooner(than *Endpoint) bool {
	a, b := e.InFlight()+1, than.InFlight()+1
	if mine, other := e.latency.Load(), than.latency.Load(); mine != 0 && other != 0 {
		a *= mine
		b *= other
	}
	return a < b
}
