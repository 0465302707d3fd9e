package balancer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// Whatever changes but its addresses, an instance keeps its connection.
func TestChangesKeepTheConnection(t *testing.T) {
	t.Parallel()
	a, b := newServer(t), newServer(t)
	ch := dial(t, `{"micro_round_robin":{}}`, a.instance("a"), b.instance("b"))
	ch.warm(t, a, b)
	for n := range 20 {
		ch.update(a.instance(fmt.Sprintf("a%d", n), version(fmt.Sprintf("v%d", n)), func(i *resolver.Instance) { i.Draining = n%2 == 0 }), b.instance("b"))
		if err := ch.call(balancer.WithFilter(deadline(t), balancer.Version(fmt.Sprintf("v%d", n)))); err != nil {
			t.Fatalf("change %d: %v", n, err)
		}
	}
	if a.calls.Load() != 20 || a.conns.Load() != 1 || b.conns.Load() != 1 {
		t.Errorf("%d calls, %d and %d connections, want 20, 1 and 1", a.calls.Load(), a.conns.Load(), b.conns.Load())
	}
}

func TestDraining(t *testing.T) {
	t.Parallel()
	a, b := newServer(t), newServer(t)
	ch := dial(t, `{"micro_round_robin":{}}`, a.instance("a"), b.instance("b"))
	ch.warm(t, a, b)
	calls := func(want string, n int) {
		t.Helper()
		a.calls.Store(0)
		b.calls.Store(0)
		for range n {
			if err := ch.call(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprint(a.calls.Load(), "-", b.calls.Load()); got != want {
			t.Errorf("%s calls, want %s", got, want)
		}
	}
	ch.update(a.instance("a", draining), b.instance("b"))
	calls("0-10", 10)
	ch.update(a.instance("a", draining), b.instance("b", draining)) // all drain: better than nobody
	calls("5-5", 10)
	ch.update(a.instance("a"), b.instance("b", draining)) // resumed
	calls("10-0", 10)
	b.Stop() // a drains, and the other has failed
	ch.update(a.instance("a", draining), b.instance("b"))
	wait.Until(t, "calls to the draining one", func() bool {
		a.calls.Store(0)
		return ch.call(deadline(t)) == nil && a.calls.Load() == 1
	})
}

func TestEmptySetFailsAtOnce(t *testing.T) {
	t.Parallel()
	a := newServer(t)
	ch := dial(t, `{"micro_round_robin":{}}`)
	for range 2 {
		if err := ch.call(deadline(t)); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no instances of svc") {
			t.Errorf("without an instance: %v", err)
		}
		ch.update(a.instance("a"))
		ch.warm(t, a)
		ch.update()
	}
	ch.r.CC().ReportError(errors.New("the registry is away"))
	wait.Until(t, "the resolver's error", func() bool {
		err := ch.call(deadline(t))
		return status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "the registry is away")
	})
	ch.update(a.instance("a"))
	ch.warm(t, a)
	ch.r.CC().ReportError(errors.New("the registry is away"))
	if err := ch.call(deadline(t)); err != nil {
		t.Errorf("with a resolver's error and an instance: %v", err)
	}
}

func TestAllHaveFailed(t *testing.T) {
	t.Parallel()
	a := newServer(t)
	ch := dial(t, `{"micro_round_robin":{}}`, a.instance("a"))
	ch.warm(t, a)
	a.Stop()
	wait.Until(t, "the connection's error", func() bool {
		err := ch.call(deadline(t))
		return status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "connection refused")
	})
	serve(t, a.addr) // it is back at the same address
	if err := ch.call(deadline(t), grpc.WaitForReady(true)); err != nil {
		t.Error(err)
	}
}

// One of two entries for one server is what a process left behind that was
// killed; the one that does not drain counts.
func TestTwoEntriesForOneServer(t *testing.T) {
	t.Parallel()
	a := newServer(t)
	ch := dial(t, `{"micro_round_robin":{}}`, a.instance("new", version("v2")), a.instance("old", version("v1"), draining))
	for _, order := range []string{"the new one first", "the old one first"} {
		if err := ch.call(balancer.WithFilter(deadline(t), balancer.Version("v2")), grpc.WaitForReady(true)); err != nil {
			t.Errorf("%s: %v", order, err)
		}
		ch.update(a.instance("1-old", version("v1"), draining), a.instance("2-new", version("v2")))
	}
	if a.conns.Load() != 1 {
		t.Errorf("%d connections, want 1", a.conns.Load())
	}
}

// The first filtered call after a dial is not held up by the coalescing of
// pickers: the one that it waits for comes as soon as a match is up, and not
// later with those of instances that nobody waits for.
func TestFirstFilteredCallIsPrompt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in which no time passes here
		insts := fleet(3) // the second is v2
		cc, b, _ := start(t, balancer.RoundRobin, `{}`, insts)
		defer b.Close()
		var match, other *fakeSub
		for range insts {
			switch sub := <-cc.dialed; sub.addr {
			case insts[0].Addrs[0]:
				sub.up()
			case insts[1].Addrs[0]:
				match = sub
			default:
				other = sub
			}
		}
		v2 := balancer.WithFilter(t.Context(), balancer.Version("v2"))
		if err := refusal(v2, cc); !errors.Is(err, grpcbalancer.ErrNoSubConnAvailable) {
			t.Errorf("%v, want it to wait for the match, which connects", err)
		}
		_, before := cc.latest()
		other.up()
		if _, now := cc.latest(); now != before {
			t.Error("a picker of its own for an instance that nobody waits for")
		}
		match.up()
		if err := refusal(v2, cc); err != nil {
			t.Errorf("the match is up, and the call waits on: %v", err)
		}
	})
}
