package resolvertest

import (
	"testing"

	"github.com/grpc-micro/micro/resolver"
)

func updateKeepsTheRegistration(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	a, b := instance("svc", "a"), instance("svc", "b")
	reg := mustRegister(t, r, a, b)
	v.wait(a, b)
	for _, draining := range []bool{true, false} {
		a, b = a.Clone(), b.Clone()
		a.Draining, b.Draining = draining, draining
		mustUpdate(t, reg, a, b)
		v.wait(a, b)
	}
	v.settle()
	if lost(reg) {
		t.Error("an update loses the registration")
	}
	mustDeregister(t, reg) // takes away what Update put, too
	v.wait()
}

func updateInvalid(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	a, b := instance("svc", "a"), instance("svc", "b")
	reg := mustRegister(t, r, a, b)
	moved, noAddress := a.Clone(), b.Clone()
	moved.Weight, noAddress.Addrs = 99, nil
	for name, insts := range map[string][]*resolver.Instance{
		"none":          nil,
		"too few":       {moved},
		"twice":         {moved, moved},
		"another ID":    {moved, instance("svc", "c")},
		"another name":  {moved, instance("other", "b")},
		"bad":           {moved, noAddress},
		"too many":      {moved, b, instance("svc", "c")},
		"nil":           {moved, nil},
		"all but first": {b, instance("svc", "c")},
	} {
		if err := reg.Update(background(t), insts...); err == nil {
			t.Errorf("%s: Update returns no error", name)
		}
	}
	v.settle()
	v.wait(a, b)
}

func updateTakenOver(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	old := mustRegister(t, r, instance("svc", "a"))
	mine := instance("svc", "a")
	mine.Version = "v2"
	mustRegister(t, r, mine)
	late := instance("svc", "a")
	late.Draining = true
	if err := old.Update(background(t), late); err == nil {
		t.Error("Update writes over the registration that took the instance over")
	}
	v.settle()
	v.wait(mine)
	if lost(old) { // it would register again, and the two fight for ever
		t.Error("a registration counts as lost because another process took its instance over")
	}
}

func deregister(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	a, b := instance("svc", "a"), instance("svc", "b")
	regA := mustRegister(t, r, a)
	mustRegister(t, r, b)
	v.wait(a, b)
	mustDeregister(t, regA)
	v.wait(b)
	mustDeregister(t, regA)
	if err := regA.Update(background(t), a); err == nil {
		t.Error("Update after Deregister returns no error")
	}
	v.settle()
	v.wait(b)
	if lost(regA) {
		t.Error("Deregister closes Lost")
	}
	mustRegister(t, r, a)
	v.wait(a, b)
}

// deregisterIsFenced is the late stop of an old process: what a new one has
// registered under the same name must stay.
func deregisterIsFenced(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	shared, own := instance("svc", "a"), instance("svc", "b")
	old := mustRegister(t, r, shared, own)
	restarted := instance("svc", "a")
	restarted.Version = "v2"
	again := mustRegister(t, r, restarted)
	v.wait(restarted, own)
	mustDeregister(t, old)
	v.wait(restarted)
	v.settle()
	v.wait(restarted)
	if lost(again) {
		t.Error("the stop of the old process loses the registration of the new one")
	}
	mustDeregister(t, again)
	v.wait()
}

func lostByExpiry(t *testing.T, r resolver.Registry) {
	expirer, ok := r.(Expirer)
	if !ok {
		return // the driver's own tests break a lease
	}
	v := watch(t, r, "svc")
	a, b, other := instance("svc", "a"), instance("svc", "b"), instance("svc", "other")
	reg := mustRegister(t, r, a, b)
	healthy := mustRegister(t, r, other)
	v.wait(a, b, other)
	if expirer.Expire("svc", "unknown") {
		t.Error("Expire reports an instance that is not there")
	}
	if !expirer.Expire("svc", "a") {
		t.Fatal("Expire reports no instance")
	}
	waitLost(t, reg)
	v.wait(other) // b was on the same lease
	if lost(healthy) {
		t.Error("another registration is lost, too")
	}
	if err := reg.Update(background(t), a, b); err == nil {
		t.Error("Update of a lost registration returns no error")
	}
	renewed := mustRegister(t, r, a, b)
	v.wait(a, b, other)
	mustDeregister(t, reg) // late, and of no effect
	v.settle()
	v.wait(a, b, other)
	mustDeregister(t, renewed)
	v.wait(other)
}

func lostByClose(t *testing.T, r resolver.Registry) {
	reg := mustRegister(t, r, instance("svc", "a"))
	if lost(reg) {
		t.Fatal("Lost is closed from the start")
	}
	if err := r.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	waitLost(t, reg)
	if err := reg.Update(background(t), instance("svc", "a")); err == nil {
		t.Error("Update after Close returns no error")
	}
	mustDeregister(t, reg) // after Lost there is nothing to do
}
