package balancer

import (
	"encoding/json"

	grpcbalancer "google.golang.org/grpc/balancer"
)

func init() {
	Register(RoundRobin, func(raw json.RawMessage) (Policy, error) {
		return roundRobin, ParseStrict(raw, &struct{}{})
	})
}

func roundRobin(ready []*Endpoint) Picker {
	calls := newCounter()
	return func(grpcbalancer.PickInfo) *Endpoint { return ready[uint32(calls.take())%uint32(len(ready))] }
}
