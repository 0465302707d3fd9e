package resolver_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-micro/micro/resolver"
)

// announced is an Announcer that runs.
type announced struct {
	*resolver.Announcer

	log     bytes.Buffer // to be read after stop
	changes chan change
	cancel  context.CancelFunc
	done    chan error
}

type change struct {
	registered bool
	err        error
}

func announce(r resolver.Registrar, insts ...*resolver.Instance) *announced {
	a := &announced{Announcer: resolver.NewAnnouncer(r, insts...), changes: make(chan change, 1000), done: make(chan error, 1)}
	a.SetLogger(slog.New(slog.NewTextHandler(&a.log, nil)))
	a.OnChange(func(registered bool, err error) { a.changes <- change{registered, err} })
	var ctx context.Context
	ctx, a.cancel = context.WithCancel(context.Background())
	go func() { a.done <- a.Run(ctx) }()
	return a
}

func (a *announced) stop() error {
	a.cancel()
	return <-a.done
}

func (a *announced) expect(t *testing.T, registered bool, reason string) {
	t.Helper()
	select {
	case c := <-a.changes:
		if c.registered != registered || registered != (c.err == nil) || c.err != nil && !strings.Contains(c.err.Error(), reason) {
			t.Fatalf("change to registered=%v, %v; want %v, %q", c.registered, c.err, registered, reason)
		}
	case <-time.After(time.Minute):
		t.Fatalf("no change to registered=%v in a minute", registered)
	}
}

// listed is what the registry holds now.
func listed(t *testing.T, d resolver.Discovery) []*resolver.Instance {
	t.Helper()
	for insts, err := range d.Watch(context.Background(), "svc") {
		if err != nil {
			t.Fatal(err)
		}
		return insts
	}
	t.Fatal("the watch yields nothing")
	return nil
}

func TestAnnouncerComesBackForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := resolver.NewMemory()
		a := announce(m, instance("a", "h:1"), instance("b", "h:1"))
		a.expect(t, true, "")
		for range 100 {
			if !m.Expire("svc", "a") {
				t.Fatal("not registered")
			}
			a.expect(t, false, "lost")
			a.expect(t, true, "")
			if n := len(listed(t, m)); n != 2 {
				t.Fatalf("%d instances are back, want 2", n)
			}
		}
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		a.expect(t, false, "stopped")
		if n := len(listed(t, m)); n != 0 {
			t.Errorf("%d instances after the stop", n)
		}
	})
}

func TestAnnouncerBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const outage = 10 * time.Minute
		began := time.Now()
		var attempts []time.Time
		f := &faulty{Memory: resolver.NewMemory()}
		f.register = func(context.Context, []*resolver.Instance) (resolver.Registration, error) {
			attempts = append(attempts, time.Now())
			if time.Since(began) < outage {
				return nil, errAway
			}
			return nil, nil
		}
		a := announce(f, instance("a", "h:1"))
		a.expect(t, false, "away")
		time.Sleep(outage - time.Second)
		a.expect(t, true, "")
		if took := time.Since(began) - outage; took > 6*time.Second {
			t.Errorf("back %v after the registry", took)
		}
		want := 100 * time.Millisecond
		for i := range len(attempts) - 1 {
			if pause := attempts[i+1].Sub(attempts[i]); pause < want*8/10-1 || pause > want*12/10+1 {
				t.Errorf("pause %d is %v, want %v and 20 %% more or less", i, pause, want)
			}
			want = min(want*16/10, 5*time.Second)
		}
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(a.log.String(), "not registered"); n != 1 {
			t.Errorf("%d log lines for one outage:\n%s", n, &a.log)
		}
	})
}

// A registration that is lost as soon as it is made must not become a hot loop.
func TestAnnouncerBacksOffFromFlapping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{Memory: resolver.NewMemory()}
		registrations := 0
		f.register = func(ctx context.Context, insts []*resolver.Instance) (resolver.Registration, error) {
			registrations++
			reg, err := f.Memory.Register(ctx, insts...)
			f.Expire("svc", "a")
			return reg, err
		}
		a := announce(f, instance("a", "h:1"))
		time.Sleep(10 * time.Minute)
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		if registrations < 100 || registrations > 180 {
			t.Errorf("%d registrations in 10 minutes, want one each 5 s", registrations)
		}
	})
}

func TestAnnouncerCallsHaveDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{Memory: resolver.NewMemory()}
		hanging := 3
		f.register = func(ctx context.Context, _ []*resolver.Instance) (resolver.Registration, error) {
			if hanging--; hanging < 0 {
				return nil, nil
			}
			return nil, until(ctx)
		}
		f.deregister = until
		a := announce(f, instance("a", "h:1"))
		began := time.Now()
		a.expect(t, false, context.DeadlineExceeded.Error())
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("an attempt takes %v, want 2s", took)
		}
		a.expect(t, true, "")
		began = time.Now()
		if err := a.stop(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returns %v, want that the withdrawal failed", err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("the withdrawal takes %v, want 5s", took)
		}
	})
}

func TestAnnouncerStopsDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{Memory: resolver.NewMemory()}
		for name, register := range map[string]func(ctx context.Context, _ []*resolver.Instance) (resolver.Registration, error){
			"hanging": func(ctx context.Context, _ []*resolver.Instance) (resolver.Registration, error) {
				return nil, until(ctx)
			},
			"failing": func(context.Context, []*resolver.Instance) (resolver.Registration, error) { return nil, errAway },
		} {
			f.register = register
			a := announce(f, instance("a", "h:1"))
			time.Sleep(time.Minute)
			began := time.Now()
			if err := a.stop(); err != nil || time.Since(began) > 0 {
				t.Errorf("%s: Run returns %v after %v, want nil at once", name, err, time.Since(began))
			}
		}
	})
}

// What was registered while Run was told to stop must not stay.
func TestAnnouncerWithdrawsWhatCameLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{Memory: resolver.NewMemory()}
		var a *announced
		began := make(chan struct{})
		f.register = func(context.Context, []*resolver.Instance) (resolver.Registration, error) {
			<-began
			a.cancel()
			return f.Memory.Register(context.Background(), instance("a", "h:1"))
		}
		a = announce(f, instance("a", "h:1"))
		close(began)
		if err := <-a.done; err != nil {
			t.Error(err)
		}
		if n := len(listed(t, f)); n != 0 {
			t.Errorf("%d instances stay", n)
		}
	})
}

func TestAnnouncerUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := resolver.NewMemory()
		given := instance("a", "h:1")
		a := announce(m, given)
		a.expect(t, true, "")
		drain := func(i *resolver.Instance) { i.Draining = true }
		if err := a.Update(t.Context(), drain); err != nil {
			t.Fatal(err)
		}
		if !listed(t, m)[0].Draining || given.Draining {
			t.Errorf("after Update: registry %+v, given %+v", listed(t, m)[0], given)
		}
		m.Expire("svc", "a")
		a.expect(t, false, "lost")
		a.expect(t, true, "")
		if !listed(t, m)[0].Draining {
			t.Error("the update does not survive a registration anew")
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := a.Update(t.Context(), func(i *resolver.Instance) { i.Weight++ }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if w := listed(t, m)[0].Weight; w != 10 {
			t.Errorf("ten updates of one each make %d", w)
		}
		for name, change := range map[string]func(*resolver.Instance){
			"must keep":  func(i *resolver.Instance) { i.ID = "other" },
			"no address": func(i *resolver.Instance) { i.Addrs = nil },
		} {
			if err := a.Update(t.Context(), change); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%v, want %q in it", err, name)
			}
		}
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		if err := a.Update(t.Context(), drain); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestAnnouncerUpdateDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		fail := func() error {
			if away.Load() {
				return errAway
			}
			return nil
		}
		f := &faulty{Memory: resolver.NewMemory()}
		f.register = func(context.Context, []*resolver.Instance) (resolver.Registration, error) { return nil, fail() }
		f.update = func(context.Context) error { return fail() }
		a := announce(f, instance("a", "h:1"))
		a.expect(t, true, "")

		away.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := a.Update(ctx, func(i *resolver.Instance) { i.Draining = true }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Update returns %v, want that its deadline has passed", err)
		}
		away.Store(false)
		if err := a.Update(t.Context(), func(i *resolver.Instance) { i.Weight = 3 }); err != nil {
			t.Error(err)
		}
		if got := listed(t, f)[0]; !got.Draining || got.Weight != 3 {
			t.Errorf("after the outage %+v, want both changes", got)
		}

		// A lease that ends in the outage, and an update before it is back.
		away.Store(true)
		f.Expire("svc", "a")
		a.expect(t, false, "lost")
		updated := make(chan error, 1)
		go func() { updated <- a.Update(t.Context(), func(i *resolver.Instance) { i.Draining = false }) }()
		time.Sleep(time.Minute)
		select {
		case err := <-updated:
			t.Fatalf("Update returns %v while the registry is away", err)
		default:
		}
		away.Store(false)
		if err := <-updated; err != nil {
			t.Error(err)
		}
		if got := listed(t, f)[0]; got.Draining {
			t.Errorf("after the outage %+v, want that it does not drain", got)
		}
		if err := a.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAnnouncerBadInput(t *testing.T) {
	t.Parallel()
	m := memory(t)
	a := instance("a", "h:1")
	for name, test := range map[string]struct {
		announcer *resolver.Announcer
		want      string
	}{
		"none":         {resolver.NewAnnouncer(m), "no instance"},
		"nil":          {resolver.NewAnnouncer(m, nil), "nil instance"},
		"bad address":  {resolver.NewAnnouncer(m, instance("a", "nowhere")), `"nowhere"`},
		"twice":        {resolver.NewAnnouncer(m, a, a), "twice"},
		"no registrar": {resolver.NewAnnouncer(nil, a), "no Registrar"},
	} {
		if err := test.announcer.Run(deadline(t)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Run returns %v, want %q in it", name, err, test.want)
		}
	}
	bad := resolver.NewAnnouncer(m, nil)
	if err := bad.Update(deadline(t), func(*resolver.Instance) {}); err == nil || !strings.Contains(err.Error(), "nil instance") {
		t.Errorf("Update of a nil instance: %v", err)
	}

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	once := resolver.NewAnnouncer(m, a)
	once.SetLogger(quiet)
	if err := once.Run(ended); err != nil {
		t.Error(err)
	}
	if err := once.Run(deadline(t)); err == nil || !strings.Contains(err.Error(), "runs once") {
		t.Errorf("the second Run returns %v", err)
	}
}
