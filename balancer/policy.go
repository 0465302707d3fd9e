package balancer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/serviceconfig"
)

// The policies of this package, by their names in a service config.
const (
	RoundRobin   = "micro_round_robin"   // each in turn
	Random       = "micro_random"        // any
	LeastRequest = "micro_least_request" // of a few random ones the one with the fewest calls in flight
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
func TrackInFlight() PolicyOption { return func(b *builder) { b.trackInFlight = true } }

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

type config struct {
	serviceconfig.LoadBalancingConfig

	policy Policy
	filter Filter // nil: none
}

type builder struct {
	name          string
	parse         func(json.RawMessage) (Policy, error)
	trackInFlight bool
}

var _ grpcbalancer.ConfigParser = (*builder)(nil)

func (b *builder) Name() string { return b.name }

// ParseConfig implements grpc's ConfigParser: the filter is common to all
// policies, the rest is the policy's.
func (b *builder) ParseConfig(raw json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("balancer: config of %s: %w", b.name, err)
	}
	c := &config{}
	if raw, ok := fields["filter"]; ok {
		var err error
		if c.filter, err = parseFilter(raw); err != nil {
			return nil, fmt.Errorf("balancer: filter in the config of %s: %w", b.name, err)
		}
		delete(fields, "filter")
	}
	own, err := json.Marshal(fields)
	if err == nil {
		c.policy, err = b.parse(own)
	}
	if err != nil {
		return nil, fmt.Errorf("balancer: config of %s: %w", b.name, err)
	}
	return c, nil
}

// configOf returns what a service config says, or the policy's defaults.
func (b *builder) configOf(parsed serviceconfig.LoadBalancingConfig) (*config, error) {
	if c, ok := parsed.(*config); ok {
		return c, nil
	}
	parsed, err := b.ParseConfig([]byte("{}"))
	if err != nil {
		return nil, err
	}
	return parsed.(*config), nil
}

// filterConfig is a Filter in JSON.
type filterConfig struct {
	Version *string           `json:"version"`
	Zone    *string           `json:"zone"`
	Labels  map[string]string `json:"labels"`
	And     []filterConfig    `json:"and"`
	Or      []filterConfig    `json:"or"`
	Not     *filterConfig     `json:"not"`
}

func parseFilter(raw json.RawMessage) (Filter, error) {
	var c filterConfig
	if err := ParseStrict(raw, &c); err != nil {
		return nil, err
	}
	return c.filter()
}

func (c *filterConfig) filter() (Filter, error) {
	var parts []Filter
	if c.Version != nil {
		parts = append(parts, Version(*c.Version))
	}
	if c.Zone != nil {
		parts = append(parts, Zone(*c.Zone))
	}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		parts = append(parts, Label(key, c.Labels[key]))
	}
	for _, group := range []struct {
		of   []filterConfig
		join func(...Filter) Filter
	}{{c.And, And}, {c.Or, Or}} {
		if group.of == nil {
			continue
		}
		filters := make([]Filter, len(group.of))
		for i := range group.of {
			var err error
			if filters[i], err = group.of[i].filter(); err != nil {
				return nil, err
			}
		}
		parts = append(parts, group.join(filters...))
	}
	if c.Not != nil {
		f, err := c.Not.filter()
		if err != nil {
			return nil, err
		}
		parts = append(parts, Not(f))
	}
	if len(parts) == 0 {
		return nil, errors.New(`it says nothing: leave it out, or give version, zone, labels, and, or, not`)
	}
	return And(parts...), nil
}
