package resolvertest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/grpc-micro/micro/resolver"
)

// editor returns r as an Editor. Registries in which only the process itself
// changes its instances need not be one; then Edit says so.
func editor(t *testing.T, r resolver.Registry) resolver.Editor {
	t.Helper()
	if e, ok := r.(resolver.Editor); ok {
		return e
	}
	if err := resolver.Edit(background(t), r, "svc", "a", drain); err == nil {
		t.Error("Edit returns no error in a registry that is no Editor")
	}
	t.Skip("it is no Editor")
	return nil
}

func drain(i *resolver.Instance) { i.Draining = true }

// What was registered together is changed together, under the lease that it
// has, and nothing else is.
func edit(t *testing.T, r resolver.Registry) {
	e := editor(t, r)
	v, w := watch(t, r, "svc"), watch(t, r, "other")
	a, sameProcess, b := instance("svc", "a"), instance("other", "a"), instance("svc", "b")
	reg := mustRegister(t, r, a, sameProcess)
	mustRegister(t, r, b)
	v.wait(a, b)
	if err := e.Edit(background(t), "svc", "a", drain); err != nil {
		t.Fatal(err)
	}
	drain(a)
	drain(sameProcess)
	v.wait(a, b)
	w.wait(sameProcess)
	if lost(reg) {
		t.Error("an edit loses the registration")
	}
	a.Draining, sameProcess.Draining, a.Weight = false, false, 1
	mustUpdate(t, reg, a, sameProcess) // its owner may still change it
	v.wait(a, b)
	mustDeregister(t, reg) // and takes it away
	v.wait(b)
	w.wait()
}

// The Announcer takes an edit over: when the lease ends, what it registers anew
// is what the operator made of it.
func editOutlivesReRegistration(t *testing.T, r resolver.Registry) {
	e := editor(t, r)
	expirer, ok := r.(Expirer)
	if !ok {
		t.Skip("it cannot end a lease at will")
	}
	ctx, cancel := context.WithCancel(background(t))
	announcer := resolver.NewAnnouncer(r, instance("svc", "a"), instance("other", "a"))
	adopted := make(chan struct{}, 16)
	announcer.SetLogger(notes(adopted, "resolver: changed by someone else"))
	done := make(chan error, 1)
	go func() { done <- announcer.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	v := watch(t, r, "svc")
	a := instance("svc", "a")
	v.wait(a)
	if err := e.Edit(background(t), "svc", "a", drain); err != nil {
		t.Fatal(err)
	}
	for range 2 { // names
		select {
		case <-adopted:
		case <-background(t).Done():
			t.Fatal("the Announcer does not take the edit over")
		}
	}
	if !expirer.Expire("svc", "a") {
		t.Fatal("there is nothing to expire")
	}
	drain(a)
	v.wait(a)
	w := watch(t, r, "other")
	other := instance("other", "a")
	drain(other)
	w.wait(other)
	// What the process changes itself builds on it.
	if err := announcer.Update(background(t), func(i *resolver.Instance) { i.Weight = 3 }); err != nil {
		t.Fatal(err)
	}
	a.Weight = 3
	v.wait(a)
}

func editRefuses(t *testing.T, r resolver.Registry) {
	e := editor(t, r)
	v := watch(t, r, "svc")
	a := instance("svc", "a")
	mustRegister(t, r, a)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, try := range map[string]func() error{
		"nobody":     func() error { return e.Edit(background(t), "svc", "nobody", drain) },
		"no service": func() error { return e.Edit(background(t), "nothing", "a", drain) },
		"another ID": func() error { return e.Edit(background(t), "svc", "a", func(i *resolver.Instance) { i.ID = "b" }) },
		"invalid":    func() error { return e.Edit(background(t), "svc", "a", func(i *resolver.Instance) { i.Addrs = nil }) },
		"no change":  func() error { return resolver.Edit(background(t), r, "svc", "a", nil) },
		"ended":      func() error { return e.Edit(ended, "svc", "a", drain) },
	} {
		if try() == nil {
			t.Errorf("%s: Edit returns no error", name)
		}
	}
	v.settle()
	v.wait(a)
}

// notes returns a logger that tells of each line with this message.
func notes(to chan<- struct{}, message string) *slog.Logger {
	return slog.New(noting{slog.DiscardHandler, to, message})
}

type noting struct {
	slog.Handler

	to      chan<- struct{}
	message string
}

func (noting) Enabled(context.Context, slog.Level) bool { return true }
func (n noting) WithAttrs([]slog.Attr) slog.Handler     { return n }
func (n noting) Handle(_ context.Context, r slog.Record) error {
	if r.Message == n.message {
		n.to <- struct{}{}
	}
	return nil
}
