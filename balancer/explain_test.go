package balancer_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

const method = "/grpc.testing.TestService/EmptyCall"

func explain(t *testing.T, ctx context.Context, conn *grpc.ClientConn) *balancer.Explanation {
	t.Helper()
	x, err := balancer.Explain(ctx, conn, method)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Every instance is there, with why a call does not go to it; what the policy
// has learnt; and nothing was sent.
func TestExplain(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	insts := []*resolver.Instance{
		a.instance("a", version("v1"), zone("x"), weight(3)), b.instance("b", version("v2"), zone("x")), c.instance("c", version("v1"), zone("y")),
		newServer(t).instance("d", version("v1"), draining),
		{ID: "e", Service: "svc", Version: "v1", Addrs: []string{nobody}},
	}
	ch := dial(t, `{"micro_round_robin":{"filter":{"version":"v1"},"ejection":{}}}`, insts...)
	ch.warm(t, a, c)
	ctx := balancer.WithTiers(deadline(t), balancer.Zone("x"), balancer.And())
	var x *balancer.Explanation
	wait.Until(t, "e to fail", func() bool {
		x = explain(t, ctx, ch.conn)
		return x.Instances[4].State == connectivity.TransientFailure
	})
	if x.Service != "svc" || x.Policy != balancer.RoundRobin || x.Method != method || x.Err != nil || x.Filter != balancer.Version("v1") || len(x.Tiers) != 2 {
		t.Errorf("%+v", x)
	}
	for i, want := range []string{"", `not version "v1"`, "in a later tier", "drains", "connection refused"} {
		if got := x.Instances[i].Dropped; (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: dropped because %q, want %q", x.Instances[i].Instance.ID, got, want)
		}
		if !strings.Contains(x.String(), want) {
			t.Errorf("%q is not in the text:\n%s", want, x)
		}
	}
	for range 7 {
		if err := ch.call(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if a.calls.Load() != 7 {
		t.Errorf("%d calls came, want 7: Explain must send nothing", a.calls.Load())
	}
	if got := explain(t, ctx, ch.conn).Instances[0]; got.Picks != 7 || got.InFlight != 0 || got.Latency == 0 || got.Weight != 3 || got.Share != 1 || got.Ejected != 0 {
		t.Errorf("%+v, want 7 picks, a latency and the weight", got)
	}
	x = explain(t, balancer.WithFilter(ctx, balancer.Version("v9")), ch.conn)
	if x.Err == nil || !strings.Contains(x.Err.Error(), "v9") || !strings.Contains(x.Instances[0].Dropped, "v9") {
		t.Errorf("with a filter that keeps nothing: %v", x)
	}
}

// On a channel of another policy nothing is sent either.
func TestExplainAnotherPolicy(t *testing.T) {
	t.Parallel()
	a := newServer(t)
	ch := dial(t, `{"round_robin":{}}`, a.instance("a"))
	ch.warm(t, a)
	if _, err := balancer.Explain(deadline(t), ch.conn, method); err == nil || !strings.Contains(err.Error(), "none of this package") || a.calls.Load() != 0 {
		t.Errorf("%v, and %d calls", err, a.calls.Load())
	}
	if err := balancer.WaitReady(deadline(t), ch.conn, 1); err == nil || !strings.Contains(err.Error(), "none of this package") || a.calls.Load() != 0 {
		t.Errorf("%v, and %d calls", err, a.calls.Load())
	}
}

// nobody is an address at which nobody listens: no system gives that port to
// who asks for any.
const nobody = "127.0.0.1:1"

func TestWaitReady(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	insts := []*resolver.Instance{a.instance("a"), b.instance("b"), c.instance("c", version("v2"))}
	ch := dial(t, `{"micro_round_robin":{}}`, insts...)
	if err := balancer.WaitReady(deadline(t), ch.conn, 0); err != nil {
		t.Error(err)
	}
	for _, got := range explain(t, deadline(t), ch.conn).Instances {
		if got.State != connectivity.Ready {
			t.Errorf("%s is %v", got.Instance.ID, got.State)
		}
	}
	if err := balancer.WaitReady(balancer.WithFilter(deadline(t), balancer.Version("v2")), ch.conn, 1); err != nil {
		t.Error(err)
	}

	lis, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	insts = append(insts, &resolver.Instance{ID: "d", Service: "svc", Addrs: []string{lis.Addr().String()}})
	ch.update(insts...)
	if err := balancer.WaitReady(deadline(t), ch.conn, 3); err != nil {
		t.Error(err)
	}
	inVain(t, ch.conn, 0, "3 of 4")
	insts[3] = &resolver.Instance{ID: "e", Service: "svc", Addrs: []string{nobody}}
	ch.update(insts...)
	if err := balancer.WaitReady(deadline(t), ch.conn, 4); err == nil || !strings.Contains(err.Error(), "3 of 4 instances are connected: the others cannot be reached") {
		t.Errorf("one cannot be reached: %v", err)
	}
}

// While there is nothing to connect to, it waits for that, and says why if it
// waits in vain.
func TestWaitReadyForInstances(t *testing.T) {
	t.Parallel()
	a, _, _ := three(t)
	ch := dial(t, `{"micro_round_robin":{}}`)
	for _, n := range []int{0, 1} {
		inVain(t, ch.conn, n, "no instances")
	}
	ready := make(chan error, 1)
	go func() { ready <- balancer.WaitReady(deadline(t), ch.conn, 1) }()
	ch.update(a.instance("a"))
	if err := <-ready; err != nil {
		t.Error(err)
	}
}

// inVain waits for n instances until the time is over, which is to be told, and
// why. Where the time was over before it could look, it knows nothing yet.
func inVain(t *testing.T, conn *grpc.ClientConn, n int, why string) {
	t.Helper()
	wait.Until(t, "the error to say "+why, func() bool {
		ctx, cancel := context.WithTimeout(deadline(t), 20*time.Millisecond)
		defer cancel()
		err := balancer.WaitReady(ctx, conn, n)
		if err == nil || !strings.Contains(err.Error(), "DeadlineExceeded") {
			t.Fatalf("waiting for %d returned %v", n, err)
		}
		return strings.Contains(err.Error(), why)
	})
}
