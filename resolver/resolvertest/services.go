package resolvertest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-micro/micro/resolver"
)

func services(t *testing.T, r resolver.Registry) {
	ctx := background(t)
	check := func(want ...string) {
		t.Helper()
		got, err := r.Services(ctx)
		if err != nil {
			t.Fatalf("Services: %v", err)
		}
		if len(got) == 0 {
			got = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Services (-want +got):\n%s", diff)
		}
	}
	check()
	for range watch(t, r, "watched").last { // a watch alone is no service
		t.Error("there is an instance")
	}
	check()
	reg := mustRegister(t, r, instance("zeta", "a"), instance("alpha.v1.Alpha", "a"))
	mustRegister(t, r, instance("foo", "a"), instance("foo", "b"))
	foobar := mustRegister(t, r, instance("foobar", "a"))
	check("alpha.v1.Alpha", "foo", "foobar", "zeta")
	mustDeregister(t, foobar)
	check("alpha.v1.Alpha", "foo", "zeta")
	mustDeregister(t, reg)
	check("foo")
}

func closed(t *testing.T, r resolver.Registry) {
	for range 2 { // the second time it does nothing
		if err := r.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	ctx := background(t)
	if _, err := r.Register(ctx, instance("svc", "a")); !errors.Is(err, resolver.ErrClosed) {
		t.Errorf("Register after Close returns %v, want ErrClosed", err)
	}
	if _, err := r.Services(ctx); !errors.Is(err, resolver.ErrClosed) {
		t.Errorf("Services after Close returns %v, want ErrClosed", err)
	}
	n := 0
	for snapshot, err := range r.Watch(ctx, "svc") {
		if n++; snapshot != nil || !errors.Is(err, resolver.ErrClosed) {
			t.Errorf("Watch after Close yields %v, %v, want ErrClosed", snapshot, err)
		}
		if n > 1 {
			break
		}
	}
	if n != 1 {
		t.Errorf("Watch after Close yields %d times, want one error", n)
	}
}
