package balancer

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/serviceconfig"
)

// config is what a service config says about a policy of this package.
type config struct {
	serviceconfig.LoadBalancingConfig

	policy      Policy
	track       tracking
	filter      Filter // nil: none
	tiers       Filter // likewise
	methods     map[string]*methodConfig
	zone        *zoneConfig // nil: all zones alike
	latency     latencyConfig
	ejection    *ejectionConfig  // nil: none
	slowStart   *slowStartConfig // likewise
	subset      *subsetConfig    // nil: all
	connections int              // to each instance
	failures    uint32           // a bit for each code that is a failure of the instance
}

// common has the parts of a config that every policy has; what is not among
// them is the policy's own.
var common = map[string]func(*config, json.RawMessage) error{
	"filter":                 parseConfigFilter,
	"tiers":                  parseConfigTiers,
	"methods":                parseMethods,
	"zoneFirst":              parseZoneFirst,
	"latency":                parseLatency,
	"ejection":               parseEjection,
	"slowStart":              parseSlowStart,
	"subset":                 parseSubset,
	"connectionsPerInstance": parseConnections,
}

func newConfig(b *builder) *config {
	return &config{track: b.track, latency: defaultLatency, connections: 1, failures: 1 << codes.Unavailable}
}

// ParseConfig implements grpc's ConfigParser.
func (b *builder) ParseConfig(raw json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("balancer: config of %s: %w", b.name, err)
	}
	c := newConfig(b)
	for name, parse := range common {
		raw, ok := fields[name]
		if !ok {
			continue
		}
		if err := parse(c, raw); err != nil {
			return nil, fmt.Errorf("balancer: %s in the config of %s: %w", name, b.name, err)
		}
		delete(fields, name)
	}
	if c.slowStart != nil && b.keyed {
		return nil, fmt.Errorf("balancer: slowStart in the config of %s: a key belongs to one instance, new or not", b.name)
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

func parseConfigFilter(c *config, raw json.RawMessage) (err error) {
	c.filter, err = parseFilter(raw)
	return err
}

// parseLatency takes decay (5 s) and failurePenalty (1 s): see latencyConfig.
func parseLatency(c *config, raw json.RawMessage) error {
	parsed := struct {
		Decay          duration `json:"decay"`
		FailurePenalty duration `json:"failurePenalty"`
	}{duration(defaultLatency.decay), duration(defaultLatency.penalty)}
	if err := ParseStrict(raw, &parsed); err != nil {
		return err
	}
	c.latency = latencyConfig{time.Duration(parsed.Decay), time.Duration(parsed.FailurePenalty)}
	return within("decay", c.latency.decay, time.Millisecond, time.Hour)
}

// duration is one as service configs have them: "1.5s".
type duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err == nil && parsed < 0 {
		err = fmt.Errorf("%s is negative", text)
	}
	*d = duration(parsed)
	return err
}

// within refuses a number that makes no sense.
func within[T int | float64 | time.Duration](name string, n, least, most T) error {
	if n >= least && n <= most {
		return nil
	}
	return fmt.Errorf("%s is %v: give one from %v to %v", name, n, least, most)
}
