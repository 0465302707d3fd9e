package resolvertest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-micro/micro/resolver"
)

func watchEmpty(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	if len(v.last) > 0 {
		t.Fatalf("the first snapshot is %s, want an empty one", describe(v.last))
	}
	a := instance("svc", "a")
	reg := mustRegister(t, r, a)
	v.wait(a)
	mustDeregister(t, reg)
	v.wait()
}

// watchOneServiceOnly has names that begin alike: foo must not match foobar.
// What a view yields is checked by next.
func watchOneServiceOnly(t *testing.T, r resolver.Registry) {
	names := []string{"foo", "foobar", "foo.bar", "foo-bar", "foo_", "fo"}
	views := make([]*view, len(names))
	insts := make([]*resolver.Instance, len(names))
	for i, name := range names {
		views[i], insts[i] = watch(t, r, name), instance(name, "id")
		mustRegister(t, r, insts[i])
	}
	for i, v := range views {
		v.wait(insts[i])
		v.settle()
		v.wait(insts[i])
		late := watch(t, r, names[i]) // a first snapshot is as exact as a change
		late.wait(insts[i])
	}
}

func watchKeepsPointers(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	a, b, c := instance("svc", "a"), instance("svc", "b"), instance("svc", "c")
	mustRegister(t, r, a)
	reg := mustRegister(t, r, b, c)
	before := v.wait(a, b, c)
	drained := b.Clone()
	drained.Draining = true
	mustUpdate(t, reg, drained, c.Clone()) // c is written again, and the same
	after := v.wait(a, drained, c)
	if before[0] != after[0] || before[2] != after[2] {
		t.Error("an instance that did not change has another pointer")
	}
	if before[1] == after[1] {
		t.Error("an instance that changed has the same pointer")
	}
	d := instance("svc", "d")
	neighbour := mustRegister(t, r, d)
	v.wait(a, drained, c, d)
	mustDeregister(t, neighbour)
	last := v.wait(a, drained, c)
	if !slices.Equal(last, after) {
		t.Error("an instance has another pointer after its neighbour has come and gone")
	}
}

func watchNeverWritesASnapshot(t *testing.T, r resolver.Registry) {
	v := watch(t, r, "svc")
	var checks []func()
	freeze := func(snapshot []*resolver.Instance) {
		slice, values := slices.Clone(snapshot), make([]*resolver.Instance, len(snapshot))
		for i, inst := range snapshot {
			values[i] = inst.Clone()
		}
		checks = append(checks, func() {
			t.Helper()
			if !slices.Equal(snapshot, slice) {
				t.Error("the slice of an earlier snapshot was written")
			}
			if diff := cmp.Diff(values, snapshot); diff != "" {
				t.Errorf("an instance of an earlier snapshot was written (-before +after):\n%s", diff)
			}
		})
	}
	b, d := instance("svc", "b"), instance("svc", "d")
	reg := mustRegister(t, r, b, d)
	freeze(v.wait(b, d))
	a, c, e := instance("svc", "a"), instance("svc", "c"), instance("svc", "e")
	for _, inst := range []*resolver.Instance{a, c, e} { // before, between and behind
		mustRegister(t, r, inst)
	}
	freeze(v.wait(a, b, c, d, e))
	drained := d.Clone()
	drained.Draining = true
	mustUpdate(t, reg, b, drained)
	freeze(v.wait(a, b, c, drained, e))
	mustDeregister(t, reg)
	freeze(v.wait(a, c, e))
	v.settle()
	for _, check := range checks {
		check()
	}
}

// watchCoalesces holds a watch up while things change.
func watchCoalesces(t *testing.T, r resolver.Registry) {
	const changes = 50
	ctx := background(t)
	a := instance("svc", "a")
	reg := mustRegister(t, r, a)
	other := watch(t, r, "svc")
	yields := 0
	for snapshot, err := range r.Watch(ctx, "svc") {
		if err != nil {
			t.Fatalf("Watch: %v", err)
		}
		if yields++; yields == 1 {
			for i := range changes {
				a = a.Clone()
				a.Weight = uint32(1000 + i)
				mustUpdate(t, reg, a)
			}
			other.wait(a)
		}
		if same(snapshot, []*resolver.Instance{a}) {
			break
		}
	}
	if ctx.Err() != nil {
		t.Fatalf("the last change was not yielded; %d snapshots", yields)
	}
	if yields > changes/5 {
		t.Errorf("%d changes while the watch was held up are %d snapshots, want a few", changes, yields-1)
	}
}

func watchAnew(t *testing.T, r resolver.Registry) {
	ctx := background(t)
	a, b := instance("svc", "a"), instance("svc", "b")
	mustRegister(t, r, a)
	watch := r.Watch(ctx, "svc")
	for _, want := range [][]*resolver.Instance{{a}, {a, b}} {
		for snapshot, err := range watch {
			if err != nil || !same(snapshot, want) {
				t.Errorf("a new range begins with %s, %v, want %s", describe(snapshot), err, describe(want))
			}
			break
		}
		mustRegister(t, r, b)
	}
}

func watchEndsWithContext(t *testing.T, r resolver.Registry) {
	mustRegister(t, r, instance("svc", "a"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	yields := make(chan yield)
	go func() {
		defer close(yields)
		for snapshot, err := range r.Watch(ctx, "svc") {
			yields <- yield{snapshot, err}
		}
	}()
	receive(t, yields)
	cancel()
	if y, ok := receive(t, yields); ok {
		t.Errorf("after the context has ended the watch yields %v, %v", y.snapshot, y.err)
	}
	for snapshot, err := range r.Watch(ctx, "svc") {
		t.Fatalf("with an ended context a watch yields %v, %v", snapshot, err)
	}
}

func watchEndsWithClose(t *testing.T, r resolver.Registry) {
	mustRegister(t, r, instance("svc", "a"))
	ctx := background(t)
	yields := make(chan yield)
	go func() {
		defer close(yields)
		for snapshot, err := range r.Watch(ctx, "svc") {
			yields <- yield{snapshot, err}
		}
	}()
	receive(t, yields)
	if err := r.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if y, ok := receive(t, yields); !ok || !errors.Is(y.err, resolver.ErrClosed) || y.snapshot != nil {
		t.Errorf("Close ends the watch with %v, %v, want ErrClosed and a nil slice", y.snapshot, y.err)
	}
	if y, ok := receive(t, yields); ok {
		t.Errorf("after the error the watch yields %v, %v", y.snapshot, y.err)
	}
}

func receive(t *testing.T, yields <-chan yield) (yield, bool) {
	t.Helper()
	select {
	case y, ok := <-yields:
		return y, ok
	case <-time.After(patience):
		t.Fatal("the watch neither yields nor ends")
		return yield{}, false
	}
}

func watchInvalid(t *testing.T, r resolver.Registry) {
	for _, service := range []string{"", "a/b", "../a", "a b", "ä"} {
		n := 0
		for snapshot, err := range r.Watch(background(t), service) {
			if n++; snapshot != nil || err == nil {
				t.Errorf("the watch of %q yields %v, %v, want an error", service, snapshot, err)
			}
			if n > 1 {
				break
			}
		}
		if n != 1 {
			t.Errorf("the watch of %q yields %d times, want one error", service, n)
		}
	}
}
