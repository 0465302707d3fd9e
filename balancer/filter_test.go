package balancer_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

func TestFilters(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	ch := dial(t, `{"micro_round_robin":{}}`,
		a.instance("a", version("v1"), zone("x")),
		b.instance("b", version("v1"), zone("y"), label("lane", "canary")),
		c.instance("c", version("v2"), zone("y")))
	ch.warm(t, a, b, c)
	byName := map[string]*server{"a": a, "b": b, "c": c}
	onlyB := balancer.NewFilter(func(i *resolver.Instance) bool { return i.ID == "b" })
	for _, test := range []struct {
		name    string
		filters []balancer.Filter
		want    string // the servers that are called
	}{
		{"version", []balancer.Filter{balancer.Version("v1")}, "ab"},
		{"zone", []balancer.Filter{balancer.Zone("y")}, "bc"},
		{"label", []balancer.Filter{balancer.Label("lane", "canary")}, "b"},
		{"function", []balancer.Filter{onlyB}, "b"},
		{"two are both", []balancer.Filter{balancer.Version("v1"), balancer.Zone("y")}, "b"},
		{"and", []balancer.Filter{balancer.And(balancer.Version("v1"), balancer.Zone("x"))}, "a"},
		{"or", []balancer.Filter{balancer.Or(balancer.Version("v2"), balancer.Zone("x"))}, "ac"},
		{"not", []balancer.Filter{balancer.Not(balancer.Label("lane", "canary"))}, "ac"},
		{"and of none", []balancer.Filter{balancer.And()}, "abc"},
		{"for this service", []balancer.Filter{balancer.For("svc", balancer.Version("v2"))}, "c"},
		{"for another service", []balancer.Filter{balancer.For("other", balancer.Version("v9"))}, "abc"},
		{"nil", []balancer.Filter{nil}, "abc"},
	} {
		for _, s := range byName {
			s.calls.Store(0)
		}
		ctx := deadline(t)
		for _, f := range test.filters {
			ctx = balancer.WithFilter(ctx, f) //nolint:fatcontext // a second filter is what is tested
		}
		for range 12 {
			if err := ch.call(ctx); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
		}
		for name, s := range byName {
			want := int64(0)
			if strings.Contains(test.want, name) {
				want = int64(12 / len(test.want))
			}
			if s.calls.Load() != want {
				t.Errorf("%s: %s got %d of 12 calls, want %d", test.name, name, s.calls.Load(), want)
			}
		}
	}
}

func TestFilterOfTheConnection(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	ch := dial(t, `{"micro_round_robin":{"filter":{"version":"v1"}}}`, a.instance("a", version("v1"), zone("x")), b.instance("b", version("v1"), zone("y")), c.instance("c", version("v2")))
	ch.warm(t, a, b)
	for range 10 {
		if err := ch.call(balancer.WithFilter(deadline(t), balancer.Zone("y"))); err != nil {
			t.Fatal(err)
		}
	}
	if a.calls.Load() != 0 || b.calls.Load() != 10 || c.calls.Load() != 0 {
		t.Errorf("%d, %d and %d calls, want 0, 10, 0", a.calls.Load(), b.calls.Load(), c.calls.Load())
	}
}

func TestNoMatch(t *testing.T) {
	t.Parallel()
	a := newServer(t)
	ch := dial(t, `{"micro_round_robin":{}}`, a.instance("a", version("v1")))
	ch.warm(t, a)
	ctx := balancer.WithFilter(deadline(t), balancer.Version("v9"))
	if err := ch.call(ctx); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), `none of 1 instances of svc has version "v9"`) {
		t.Errorf("fail-fast: %v", err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- ch.call(ctx, grpc.WaitForReady(true)) }()
	b := newServer(t)
	ch.update(a.instance("a", version("v1")), b.instance("b", version("v9")))
	if err := <-waiting; err != nil || b.calls.Load() != 1 {
		t.Errorf("the call that waited for it: %v", err)
	}
}

// The only match is not up yet: calls wait, and do not go elsewhere.
func TestMatchThatConnects(t *testing.T) {
	t.Parallel()
	a := newServer(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	addr := lis.Addr().String()
	ch := dial(t, `{"micro_round_robin":{}}`, a.instance("a"))
	ch.warm(t, a)
	ch.update(a.instance("a"), &resolver.Instance{ID: "b", Service: "svc", Version: "v2", Addrs: []string{addr}})
	ctx, cancel := context.WithCancel(balancer.WithFilter(deadline(t), balancer.Version("v2")))
	waiting := make(chan error, 1)
	go func() { waiting <- ch.call(ctx) }()
	conn, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waiting:
		t.Fatalf("the call did not wait: %v", err)
	default:
	}
	cancel()
	if err := <-waiting; status.Code(err) != codes.Canceled {
		t.Errorf("%v", err)
	}
	_, _ = conn.Close(), lis.Close()
	// Now it refuses, and calls say so.
	wait.Until(t, "the connection's error", func() bool {
		err := ch.call(balancer.WithFilter(deadline(t), balancer.Version("v2")))
		return status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), addr)
	})
	if a.calls.Load() != 0 {
		t.Errorf("%d filtered calls went to another instance", a.calls.Load())
	}
}

func TestAvoid(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	ch := dial(t, `{"micro_round_robin":{}}`, a.instance("a"), b.instance("b"), c.instance("c", version("v2")))
	ch.warm(t, a, b, c)
	ctx := balancer.WithAvoid(deadline(t), "a")
	for range 20 {
		if err := ch.call(balancer.WithAvoid(ctx, "c")); err != nil {
			t.Fatal(err)
		}
	}
	if b.calls.Load() != 20 {
		t.Errorf("%d of 20 calls went to the one that is not avoided", b.calls.Load())
	}
	// In another zone is better than again; another tier is not.
	zoned := dial(t, `{"micro_round_robin":{"zoneFirst":{"zone":"z"}}}`, a.instance("a", zone("z")), b.instance("b"))
	if err := balancer.WaitReady(deadline(t), zoned.conn, 2); err != nil {
		t.Fatal(err)
	}
	b.calls.Store(0)
	for range 5 {
		if err := zoned.call(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if b.calls.Load() != 5 {
		t.Errorf("%d of 5 calls went to the other zone, want 5", b.calls.Load())
	}
	tiered := balancer.WithTiers(ctx, balancer.Not(balancer.Version("v2")), balancer.Version("v2"))
	if err := ch.call(balancer.WithAvoid(tiered, "b")); err != nil {
		t.Error(err)
	}
	c.calls.Store(0)
	if err := ch.call(balancer.WithAvoid(balancer.WithFilter(ctx, balancer.Version("v2")), "c")); err != nil || c.calls.Load() != 1 {
		t.Errorf("the only match was avoided: %v", err)
	}
}
