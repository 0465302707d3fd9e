package balancer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

func lane(name string) func(*resolver.Instance) { return label("lane", name) }

func TestTiers(t *testing.T) {
	t.Parallel()
	x, stable, other := three(t)
	insts := func(xDrains bool) []*resolver.Instance {
		return []*resolver.Instance{
			x.instance("x", lane("x"), version("v2"), func(i *resolver.Instance) { i.Draining = xDrains }),
			stable.instance("stable", lane("stable"), version("v1")),
			other.instance("other", version("v1")),
		}
	}
	ch := dial(t, `{"micro_round_robin":{}}`, insts(false)...)
	ch.warm(t, x, stable, other)
	goesTo := func(what string, ctx context.Context, want ...*server) {
		t.Helper()
		for _, s := range []*server{x, stable, other} {
			s.calls.Store(0)
		}
		for range 6 {
			if err := ch.call(ctx); err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
		}
		for _, s := range want {
			if s.calls.Load() != int64(6/len(want)) {
				t.Errorf("%s: x %d, stable %d, other %d of 6 calls", what, x.calls.Load(), stable.calls.Load(), other.calls.Load())
			}
		}
	}
	lanes := func(names ...string) []balancer.Filter {
		var tiers []balancer.Filter
		for _, name := range names {
			tiers = append(tiers, balancer.Label("lane", name))
		}
		return tiers
	}
	ctx := deadline(t)
	inX := balancer.WithTiers(ctx, lanes("x", "stable")...)
	goesTo("the first tier", inX, x)
	goesTo("the second tier", balancer.WithTiers(ctx, lanes("y", "stable")...), stable)
	goesTo("any", balancer.WithTiers(ctx, append(lanes("y", "z"), balancer.And())...), x, stable, other)
	goesTo("a filter beside", balancer.WithFilter(inX, balancer.Version("v1")), stable)
	goesTo("tiers instead of tiers", balancer.WithTiers(inX, lanes("stable")...), stable)
	goesTo("no tiers any more", balancer.WithTiers(inX), x, stable, other)
	goesTo("tiers of another service", balancer.WithTiers(ctx, balancer.For("other", balancer.Zone("nowhere")), lanes("x")[0]), x, stable, other)

	if err := ch.call(balancer.WithTiers(ctx, lanes("y", "z")...)); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), `none of 3 instances of svc has label lane="y", else label lane="z"`) {
		t.Errorf("no tier: %v", err)
	}

	ch.update(insts(true)...)
	goesTo("a first tier that drains", inX, stable)
	goesTo("nothing but one that drains", balancer.WithTiers(ctx, lanes("x")...), x)
	ch.update(insts(false)...)
	goesTo("resumed", inX, x)

	x.Stop()
	wait.Until(t, "calls to the second tier", func() bool {
		return ch.call(inX) == nil && stable.calls.Load() > 0
	})
	goesTo("a first tier that has failed", inX, stable)
	serve(t, x.addr)
	if err := ch.call(balancer.WithTiers(ctx, lanes("x")...), grpc.WaitForReady(true)); err != nil {
		t.Error(err)
	}
}

func TestTiersInTheConfig(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	ch := dial(t, `{"micro_round_robin":{
		"tiers": [{"labels":{"lane":"x"}}, {"not":{"hasLabel":"lane"}}],
		"methods": {
			"grpc.testing.TestService/EmptyCall": {"filter": {"versionRange": "^1"}},
			"other.Service": {"tiers": ["any"]}
		}
	}}`, a.instance("a", lane("x"), version("2.0.0")), b.instance("b", version("1.3.0")), c.instance("c", lane("y"), version("1.4.0")))
	for range 5 { // a has another version, c is in no tier
		if err := ch.call(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	if b.calls.Load() != 5 {
		t.Errorf("%d, %d and %d calls, want 0, 5 and 0", a.calls.Load(), b.calls.Load(), c.calls.Load())
	}
}

// Filters and tiers by method: exact, by service, and none.
func TestMethods(t *testing.T) {
	t.Parallel()
	insts := fleet(4)
	insts[3].Zone = "z"
	picks := newPicks(t, balancer.RoundRobin, `{"methods": {
		"a.A/Get": {"filter": {"version": "v2"}},
		"a.A": {"tiers": [{"zone": "nowhere"}, {"zone": "z"}]}
	}}`, insts)
	filtered := balancer.WithFilter(context.Background(), balancer.Version("v1"))
	for _, test := range []struct {
		method string
		ctx    context.Context
		want   string
	}{
		{"/a.A/Get", context.Background(), "13"},
		{"/a.A/List", context.Background(), "3"},
		{"/b.B/Get", context.Background(), "0123"},
		{"/b.B/Get", filtered, "02"},
		{"/a.A/Get", balancer.WithTiers(context.Background(), balancer.Zone("z")), "3"},
		{"/a.A/Get", context.Background(), "13"}, // after a method of which nothing is said
		{"/b.B/Get", filtered, "02"},             // the same context, after other methods
	} {
		seen := map[string]bool{}
		for range 40 {
			seen[picks.nextOf(t, test.ctx, test.method)] = true
		}
		for i, inst := range insts {
			if want := strings.Contains(test.want, fmt.Sprint(i)); seen[inst.Addrs[0]] != want {
				t.Errorf("%s: instance %d picked: %v, want %v", test.method, i, !want, want)
			}
		}
	}
}

// One context goes to two services, by turns, and each pick is right.
func TestOneContextForTwoChannels(t *testing.T) {
	t.Parallel()
	one := newPicks(t, balancer.RoundRobin, `{}`, fleet(4))
	two := newPicks(t, balancer.RoundRobin, `{}`, fleet(8)[4:])
	ctx := balancer.WithFilter(context.Background(), balancer.Version("v2"))
	for range 10 {
		if a, b := one.nextFor(t, ctx), two.nextFor(t, ctx); a > b || b < fleet(8)[4].Addrs[0] {
			t.Fatalf("%s and %s", a, b)
		}
	}
	one.update(fleet(2))
	for range 10 {
		if a := one.nextFor(t, ctx); a != fleet(2)[1].Addrs[0] {
			t.Fatalf("%s is picked, which has left", a)
		}
	}
}

// Calls stay in the zone as long as enough of it is usable. What a zone that
// fails looks like is in the simulations.
func TestZoneFirst(t *testing.T) {
	t.Parallel()
	insts := fleet(10)
	zones := map[string]string{}
	for i, inst := range insts {
		inst.Zone = string(rune('a' + i/5))
		zones[inst.Addrs[0]] = inst.Zone
	}
	plain := context.Background()
	for _, test := range []struct {
		name, config string
		insts        []*resolver.Instance
		down         int // so many of those in the client's zone
		ctx          context.Context
		want         int // of 1,000 calls, those that stay
	}{
		{"all well", `{"zone":"a"}`, insts, 0, plain, 1000},
		{"one of five down", `{"zone":"a"}`, insts, 1, plain, 1000},
		{"two of five down", `{"zone":"a"}`, insts, 2, plain, 375},
		{"two of five down, and panic later", `{"zone":"a","panicThreshold":60}`, insts, 2, plain, 1000},
		{"two of five gone, which is not down", `{"zone":"a"}`, insts[2:], 0, plain, 1000},
		{"too small", `{"zone":"a","minInstances":3}`, insts[3:], 0, plain, 286},
		{"nobody there", `{"zone":"c"}`, insts, 0, plain, 500},
		{"with a filter", `{"zone":"a"}`, insts, 0, balancer.WithFilter(plain, balancer.Version("v2")), 1000},
		{"tiers come first", `{"zone":"a"}`, insts, 0, balancer.WithTiers(plain, balancer.Zone("b")), 0},
	} {
		picks := newPicks(t, balancer.Random, `{"zoneFirst":`+test.config+`}`, test.insts)
		for _, inst := range test.insts[:test.down] {
			picks.conn.sub(inst.Addrs[0]).down()
		}
		stay := 0
		for range 1000 {
			if zones[picks.nextFor(t, test.ctx)] == "a" {
				stay++
			}
		}
		if stay < test.want-75 || stay > test.want+75 { // 5 standard deviations at most
			t.Errorf("%s: %d of 1,000 calls stay, want %d", test.name, stay, test.want)
		}
	}
}
