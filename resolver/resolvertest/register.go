package resolvertest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/grpc-micro/micro/resolver"
)

func register(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	a := instance("svc", "a")
	mustRegister(t, r, a)
	v.wait(a)

	bare := &resolver.Instance{ID: "b", Service: "svc", Addrs: []string{"host.example:1"}}
	socket := &resolver.Instance{ID: "c", Service: "svc", Addrs: []string{"unix:///run/svc.sock"}, Draining: true}
	mustRegister(t, r, bare)
	mustRegister(t, r, socket)
	v.wait(a, bare, socket)

	long := strings.Repeat("n", 255)
	vLong := watch(t, r, long)
	longest := instance(long, long)
	mustRegister(t, r, longest)
	vLong.wait(longest)
}

func registerAcrossServices(t *testing.T, r resolver.Registry) {
	one, two := watch(t, r, "shop.v1.Orders"), watch(t, r, "shop")
	a, b := instance("shop.v1.Orders", "same-id"), instance("shop", "same-id")
	reg := mustRegister(t, r, a, b)
	one.wait(a)
	two.wait(b)
	mustDeregister(t, reg)
	one.wait()
	two.wait()
}

// registerMany is more than one transaction of etcd's holds.
func registerMany(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	insts := make([]*resolver.Instance, 300)
	for i := range insts {
		insts[i] = instance("svc", number(i))
	}
	reg := mustRegister(t, r, insts...)
	v.wait(insts...)
	drained := make([]*resolver.Instance, len(insts))
	for i, inst := range insts {
		drained[i] = inst.Clone()
		drained[i].Draining = true
	}
	mustUpdate(t, reg, drained...)
	v.wait(drained...)
	mustDeregister(t, reg)
	v.wait()
}

func registerAllOrNone(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	bad := instance("svc", "bad")
	bad.Addrs = []string{"no-port"}
	if _, err := r.Register(background(t), instance("svc", "good"), bad); err == nil {
		t.Fatal("Register takes an instance with a bad address")
	}
	v.settle()
	v.wait()
}

func registerReplaces(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	mustRegister(t, r, instance("svc", "a"))
	moved := instance("svc", "a")
	moved.Addrs = []string{"10.9.9.9:9"}
	mustRegister(t, r, moved)
	v.wait(moved)
	v.settle()
	v.wait(moved)
}

func registerInvalid(t *testing.T, r resolver.Registry) {
	with := func(change func(*resolver.Instance)) []*resolver.Instance {
		inst := instance("svc", "a")
		change(inst)
		return []*resolver.Instance{inst}
	}
	for name, insts := range map[string][]*resolver.Instance{
		"none":           nil,
		"nil":            {nil},
		"twice":          {instance("svc", "a"), instance("svc", "a")},
		"no service":     with(func(i *resolver.Instance) { i.Service = "" }),
		"slash":          with(func(i *resolver.Instance) { i.Service = "a/b" }),
		"no ID":          with(func(i *resolver.Instance) { i.ID = "" }),
		"ID with a path": with(func(i *resolver.Instance) { i.ID = "../b" }),
		"long ID":        with(func(i *resolver.Instance) { i.ID = strings.Repeat("n", 256) }),
		"no address":     with(func(i *resolver.Instance) { i.Addrs = nil }),
		"no port":        with(func(i *resolver.Instance) { i.Addrs = []string{"host"} }),
	} {
		reg, err := r.Register(background(t), insts...)
		if err == nil || reg != nil {
			t.Errorf("%s: Register returns %v, %v, want an error", name, reg, err)
		}
	}
	names, err := r.Services(background(t))
	if err != nil || len(names) > 0 {
		t.Errorf("Services after refusals: %v, %v", names, err)
	}
}

func registerEndedContext(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Register(ctx, instance("svc", "a")); err == nil {
		t.Fatal("Register ignores that its context has ended")
	}
	v.settle()
	v.wait()
}

func registerConcurrently(t *testing.T, r resolver.Registry) {
	const processes, rounds = 8, 5
	v, other := watch(t, r, "svc"), watch(t, r, "svc")
	var wg sync.WaitGroup
	want := make([]*resolver.Instance, processes)
	ctx := background(t)
	for p := range processes {
		want[p] = instance("svc", number(p))
		want[p].Weight = rounds
		wg.Go(func() {
			for round := range rounds {
				inst := instance("svc", number(p))
				reg, err := r.Register(ctx, inst)
				if err != nil {
					t.Errorf("Register: %v", err)
					return
				}
				inst = inst.Clone()
				inst.Weight = uint32(round + 1)
				if err := reg.Update(ctx, inst); err != nil {
					t.Errorf("Update: %v", err)
				}
				if round == rounds-1 {
					return
				}
				if err := reg.Deregister(ctx); err != nil {
					t.Errorf("Deregister: %v", err)
				}
			}
		})
	}
	// The watches are read all the while: what they yield is checked by next.
	v.wait(want...)
	other.wait(want...)
	wg.Wait()
}
