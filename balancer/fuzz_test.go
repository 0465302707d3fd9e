package balancer_test

import (
	"testing"

	grpcbalancer "google.golang.org/grpc/balancer"

	"github.com/grpc-micro/micro/balancer"
)

// Whatever a range says, it is refused or it is a filter that is equal to
// itself made again and can be asked.
func FuzzVersionRange(f *testing.F) {
	for _, text := range []string{">=1.4 <2", "^0.4.2", "~1", "1.4.x || =2.0.0-rc.1", "!=1.5", "> 1", "v1.2.3+b", "^0.0.3", "<18446744073709551615.0.0"} {
		f.Add(text, "1.4.2")
	}
	f.Fuzz(func(t *testing.T, text, version string) {
		filter, err := balancer.VersionRange(text)
		if err != nil {
			return
		}
		if again, err := balancer.VersionRange(text); err != nil || again != filter {
			t.Errorf("%q: %v, then %v, %v", text, filter, again, err)
		}
		_ = balancer.Matches(filter, version)
	})
}

// A config is refused or taken, and never the end of the process.
func FuzzConfig(f *testing.F) {
	for _, config := range []string{
		`{}`, `{"filter":{"versionRange":"^1"},"tiers":[{"zone":"a"},"any"],"methods":{"a.A/B":{"filter":{"hasLabel":"x"}}}}`,
		`{"zoneFirst":{"zone":"a"},"ejection":{"codes":["UNAVAILABLE",14],"time":"1s"},"slowStart":{},"subset":{"size":3},"connectionsPerInstance":2,"latency":{"decay":"1s"}}`,
		`{"choiceCount":3}`, `{"header":"x","loadFactor":1e9}`, `[]`, `{"filter":null,"tiers":null,"methods":null}`,
	} {
		f.Add([]byte(config))
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		for _, policy := range policies {
			cfg, err := grpcbalancer.Get(policy).(grpcbalancer.ConfigParser).ParseConfig(config)
			if (cfg == nil) == (err == nil) {
				t.Errorf("%s %s: config %v, error %v", policy, config, cfg, err)
			}
		}
	})
}
