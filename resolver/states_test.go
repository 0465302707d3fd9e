package resolver_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grpc-micro/micro/resolver"
)

// stateOf returns the state of the watch of a service, whose name no other test
// has, when all is quiet.
func stateOf(t *testing.T, service string) resolver.WatchState {
	t.Helper()
	synctest.Wait()
	for _, s := range resolver.Watches() {
		if s.Service == service {
			return s
		}
	}
	t.Fatalf("no watch of %s", service)
	return resolver.WatchState{}
}

func TestWatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		feed, d := newFeed()
		b := builder(d, resolver.WithLinger(time.Minute))
		check := func(what string, staleness time.Duration, want resolver.WatchState) {
			t.Helper()
			got := stateOf(t, "watches")
			want.Service = "watches"
			if diff := cmp.Diff(want, got, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
			if got.Staleness() != staleness {
				t.Errorf("%s: staleness %v, want %v", what, got.Staleness(), staleness)
			}
		}
		began := time.Now()
		r := buildFor(t, "watches", b, &recorder{})
		time.Sleep(time.Second)
		check("before an answer", time.Second, resolver.WatchState{Clients: 1, Since: began})

		feed.next <- "a b"
		up := time.Now()
		r2 := buildFor(t, "watches", b, &recorder{})
		check("watching", 0, resolver.WatchState{Clients: 2, Instances: 2, Known: true, Watching: true, Since: up, Changed: up})

		time.Sleep(time.Second)
		feed.next <- "a b c"
		check("after a change", 0, resolver.WatchState{Clients: 2, Instances: 3, Known: true, Watching: true, Since: up, Changed: up.Add(time.Second)})

		feed.next <- errAway
		synctest.Wait()
		down := time.Now()
		time.Sleep(time.Hour)
		check("away", time.Hour, resolver.WatchState{Clients: 2, Instances: 3, Known: true, Since: down, Changed: up.Add(time.Second), Failures: 1, Err: errAway})

		r.Close()
		r2.Close()
		feed.next <- "a"
		check("lingering, and most have vanished", 0, resolver.WatchState{Instances: 3, Held: 2, Known: true, Watching: true, Since: time.Now(), Changed: up.Add(time.Second), Failures: 1})

		time.Sleep(time.Minute)
		synctest.Wait()
		for _, s := range resolver.Watches() {
			if s.Service == "watches" {
				t.Errorf("the watch has ended, and is still there: %+v", s)
			}
		}
	})
}

func TestAnnouncerState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		var down atomic.Bool
		down.Store(true)
		f := &faulty{Memory: m, register: func(context.Context, []*resolver.Instance) (resolver.Registration, error) {
			if down.Load() {
				return nil, errAway
			}
			return nil, nil
		}}
		a := resolver.NewAnnouncer(f, instance("a", "h:1"))
		a.SetLogger(quiet)
		check := func(what string, want resolver.AnnouncerState) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, a.State(), cmpopts.EquateErrors()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		check("before Run", resolver.AnnouncerState{Service: "svc", ID: "a"})
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		check("away", resolver.AnnouncerState{Service: "svc", ID: "a", Since: began, Err: errAway})

		down.Store(false)
		time.Sleep(time.Second)
		state := a.State()
		if !state.Registered || state.Registrations != 1 || state.Err != nil || !state.Since.After(began) {
			t.Errorf("registered: %+v", state)
		}
		down.Store(true)
		m.Expire("svc", "a")
		synctest.Wait()
		if state := a.State(); state.Registered || state.Registrations != 1 || state.Err == nil {
			t.Errorf("lost: %+v", state)
		}
		down.Store(false)
		time.Sleep(time.Second)
		if state := a.State(); !state.Registered || state.Registrations != 2 || state.Err != nil {
			t.Errorf("registered again: %+v", state)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if state := a.State(); state.Registered || state.Err == nil || errors.Is(state.Err, errAway) {
			t.Errorf("withdrawn: %+v", state)
		}
	})
}
