package balancer

import (
	"encoding/json"
	"fmt"

	grpcbalancer "google.golang.org/grpc/balancer"
)

func init() { Register(LeastRequest, parseLeastRequest, TrackInFlight()) }

// parseLeastRequest takes choiceCount as grpc's own least_request does (gRFC
// A48): how many random endpoints to compare, 2 to 10, by default 2.
func parseLeastRequest(raw json.RawMessage) (Policy, error) {
	const fewest, most = 2, 10
	c := struct {
		ChoiceCount int `json:"choiceCount"`
	}{fewest}
	if err := ParseStrict(raw, &c); err != nil {
		return nil, err
	}
	if c.ChoiceCount < fewest || c.ChoiceCount > most {
		return nil, fmt.Errorf("choiceCount is %d: give one from %d to %d", c.ChoiceCount, fewest, most)
	}
	return leastRequest(c.ChoiceCount), nil
}

func leastRequest(choices int) Policy {
	return func(ready []*Endpoint) Picker {
		return func(grpcbalancer.PickInfo) *Endpoint {
			best := ready[anyOf(len(ready))]
			for range choices - 1 {
				if e := ready[anyOf(len(ready))]; e.InFlight() < best.InFlight() {
					best = e
				}
			}
			return best
		}
	}
}
