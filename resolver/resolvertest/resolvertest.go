// Package resolvertest is the conformance suite of registries: what the
// contracts of package resolver promise, as tests. A driver is done when its
// own test package says
//
//	func TestConformance(t *testing.T) {
//		resolvertest.Run(t, func(t *testing.T) resolver.Registry { return open(t) })
//	}
//
// and passes, with a goroutine-leak check in its TestMain.
package resolvertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/grpc-micro/micro/resolver"
)

// patience bounds every wait of the suite. Nothing waits that long unless it
// fails.
const patience = time.Minute

// Expirer is what a registry may offer so that the suite can see a
// registration being lost: it ends the lease that holds the instance, as if
// its process had stopped renewing it, and reports whether there was one.
type Expirer interface {
	Expire(service, id string) bool
}

// Run checks a registry. Each call of open returns one that holds nothing and
// shares nothing with the others; Run closes it. The subtests run in parallel.
func Run(t *testing.T, open func(t *testing.T) resolver.Registry) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, r resolver.Registry)
	}{
		{"Register", register},
		{"RegisterAcrossServices", registerAcrossServices},
		{"RegisterMany", registerMany},
		{"RegisterAllOrNone", registerAllOrNone},
		{"RegisterReplaces", registerReplaces},
		{"RegisterInvalid", registerInvalid},
		{"RegisterEndedContext", registerEndedContext},
		{"RegisterConcurrently", registerConcurrently},
		{"UpdateKeepsTheRegistration", updateKeepsTheRegistration},
		{"UpdateInvalid", updateInvalid},
		{"UpdateTakenOver", updateTakenOver},
		{"Deregister", deregister},
		{"DeregisterIsFenced", deregisterIsFenced},
		{"LostByExpiry", lostByExpiry},
		{"LostByClose", lostByClose},
		{"WatchEmpty", watchEmpty},
		{"WatchOneServiceOnly", watchOneServiceOnly},
		{"WatchKeepsPointers", watchKeepsPointers},
		{"WatchNeverWritesASnapshot", watchNeverWritesASnapshot},
		{"WatchCoalesces", watchCoalesces},
		{"WatchAnew", watchAnew},
		{"WatchEndsWithContext", watchEndsWithContext},
		{"WatchEndsWithClose", watchEndsWithClose},
		{"WatchInvalid", watchInvalid},
		{"Edit", edit},
		{"EditOutlivesReRegistration", editOutlivesReRegistration},
		{"EditRefuses", editRefuses},
		{"ServiceConfig", serviceConfig},
		{"ServiceConfigRefuses", serviceConfigRefuses},
		{"Services", services},
		{"Closed", closed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := open(t)
			t.Cleanup(func() {
				if err := r.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(t, r)
		})
	}
}

// instance returns one that is valid, with every field set.
func instance(service, id string) *resolver.Instance {
	return &resolver.Instance{
		ID: id, Service: service, Version: "v1.2.3", Zone: "zone-a", Weight: 7,
		Addrs:  []string{"10.0.0.1:8080", "[2001:db8::1]:8080"},
		Local:  "host/name",
		Labels: map[string]string{"lane": "canary", "text": "two\nlines, \"quoted\", ünïcode"},
	}
}

// background returns a context that ends with the test's patience.
func background(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func mustRegister(t *testing.T, r resolver.Registrar, insts ...*resolver.Instance) resolver.Registration {
	t.Helper()
	reg, err := r.Register(background(t), insts...)
	if err != nil {
		t.Fatalf("Register: %v", err)
	}
	return reg
}

func mustUpdate(t *testing.T, reg resolver.Registration, insts ...*resolver.Instance) {
	t.Helper()
	if err := reg.Update(background(t), insts...); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func mustDeregister(t *testing.T, reg resolver.Registration) {
	t.Helper()
	if err := reg.Deregister(background(t)); err != nil {
		t.Fatalf("Deregister: %v", err)
	}
}

// lost reports whether the registration says so by now.
func lost(reg resolver.Registration) bool {
	select {
	case <-reg.Lost():
		return true
	default:
		return false
	}
}

func waitLost(t *testing.T, reg resolver.Registration) {
	t.Helper()
	select {
	case <-reg.Lost():
	case <-time.After(patience):
		t.Fatal("Lost was not closed")
	}
}

// number returns a name that sorts as n does.
func number(n int) string { return fmt.Sprintf("id-%04d", n) }
