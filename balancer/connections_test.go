package balancer_test

import (
	"testing"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
)

// Three connections to each of two real servers carry the calls, and when the
// servers drop them they come back.
func TestConnectionsPerInstance(t *testing.T) {
	t.Parallel()
	a, b := newServer(t), newServer(t)
	ch := dial(t, `{"micro_round_robin":{"connectionsPerInstance":3}}`, a.instance("a"), b.instance("b"))
	ch.warm(t, a, b)
	wait.Until(t, "three connections to each", func() bool { return a.conns.Load() == 3 && b.conns.Load() == 3 })
	wait.Until(t, "calls on all of them", func() bool {
		if err := ch.call(deadline(t)); err != nil {
			t.Fatal(err)
		}
		return a.used() == 3 && b.used() == 3
	})
	for range 20 {
		if err := ch.call(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// One of two connections is lost, and calls go on over the other; when both
// are, they go elsewhere.
func TestOneConnectionOfTwoIsLost(t *testing.T) {
	t.Parallel()
	insts := fleet(1)
	cc, b, update := start(t, balancer.RoundRobin, `{"connectionsPerInstance":2}`, insts)
	defer b.Close()
	one, two := <-cc.dialed, <-cc.dialed
	one.up()
	two.up()
	update(insts)
	p := &picks{cc, update}
	subs := func() map[*fakeSub]bool {
		seen := map[*fakeSub]bool{}
		for range 10 {
			seen[p.sub(t)] = true
		}
		return seen
	}
	if seen := subs(); !seen[one] || !seen[two] {
		t.Error("calls do not go over both")
	}
	_, before := cc.latest()
	one.down()
	if _, after := cc.latest(); after == before {
		t.Error("no new picker when a connection was lost: calls that were sent there wait for it")
	}
	if seen := subs(); seen[one] || !seen[two] {
		t.Error("calls do not go over the one that is left")
	}
	two.down()
	if err := refusal(t.Context(), cc); err == nil {
		t.Error("a call goes over a lost connection")
	}
}
