package balancer_test

import (
	"strings"
	"testing"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/resolver"
)

// The ranges are what people know from npm, Cargo and Masterminds/semver.
func TestVersionRange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, in, out string }{
		{">=1.4 <2", "1.4.0 v1.4.0 1.9.9 1.4.7+build", "1.3.9 2.0.0 2.1.0 1.5.0-rc.1 2.0.0-rc.1"},
		{">=1.4, !=1.5.2, <2", "1.5.1 1.5.3", "1.5.2"},
		{"> 1.2 , <= 1.4", "1.3.0 1.4.0 1.4.9", "1.2.0 1.2.9 1.5.0"},
		{">1.2.3 <=1.4.1", "1.2.4 1.4.1", "1.2.3 1.4.2"},
		{"^1.4.2", "1.4.2 1.99.0", "1.4.1 2.0.0 2.0.0-rc.1"},
		{"^0.4.2", "0.4.2 0.4.9", "0.5.0 0.4.1 1.0.0"},
		{"^0.0.3", "0.0.3", "0.0.4 0.0.2 0.1.0"},
		{"^0", "0.0.1 0.9.0", "1.0.0"},
		{"^0.0", "0.0.1 0.0.9", "0.1.0"},
		{"~1.4.2", "1.4.2 1.4.9", "1.5.0 1.4.1"},
		{"~1", "1.0.0 1.9.0", "2.0.0 0.9.0"},
		{"1.4", "1.4.0 1.4.9", "1.5.0 1.3.9"},
		{"1.4.x", "1.4.0 1.4.9", "1.5.0"},
		{"1.*", "1.0.0 1.9.0", "2.0.0"},
		{"v1", "1.0.0", "2.0.0"},
		{"=1.4.2", "1.4.2 v1.4.2", "1.4.3"},
		{"!=1.4", "1.3.0 1.5.0", "1.4.0 1.4.7"},
		{"^1 || >=3.2", "1.0.0 3.2.0 4.0.0", "2.0.0 3.1.0"},
		{"^1.5.0-rc.1", "1.5.0-rc.1 1.5.0-rc.2 1.5.0 1.6.0", "1.5.0-beta 2.0.0"},
		{"<2", "", "main 2024-01-01 v1.x one.two"},
	} {
		f, err := balancer.VersionRange(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		again, _ := balancer.VersionRange(test.text)
		if f != again {
			t.Errorf("%s twice is not equal, so no picker finds its answer again", test.text)
		}
		for versions, want := range map[string]bool{test.in: true, test.out: false} {
			for version := range strings.FieldsSeq(versions) {
				if got := keeps(t, f, &resolver.Instance{Version: version}); got != want {
					t.Errorf("%s keeps %s: %v, want %v (%v)", test.text, version, got, want, f)
				}
			}
		}
	}
	for text, want := range map[string]string{
		"": "empty", ">=": "no version after", "1.2.3.4": "1.2.3.4", ">=one": "one", "=>1": `"=>"`, "1 ||": "empty", "1.2 - 2": `"-"`, "^1000000000000000000": "18 digits",
	} {
		if _, err := balancer.VersionRange(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

// keeps asks a picker with one instance.
func keeps(t *testing.T, f balancer.Filter, inst *resolver.Instance) bool {
	t.Helper()
	inst.ID, inst.Service, inst.Addrs = "a", "svc", []string{"10.0.0.1:80"}
	cc, b, _ := bringUp(t, balancer.RoundRobin, `{}`, []*resolver.Instance{inst})
	defer b.Close()
	return refusal(balancer.WithFilter(t.Context(), f), cc) == nil
}
