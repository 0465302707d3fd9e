package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/grpc-micro/micro/resolver"
)

// scripted is a Discovery whose watches do what a test says.
type scripted struct {
	watch func(ctx context.Context, yield func([]*resolver.Instance, error) bool)
}

func (s *scripted) Watch(ctx context.Context, _ string) iter.Seq2[[]*resolver.Instance, error] {
	return func(yield func([]*resolver.Instance, error) bool) { s.watch(ctx, yield) }
}

// recorder is a ClientConn that writes down what it is told.
type recorder struct {
	grpcresolver.ClientConn

	block chan struct{} // if not nil, each UpdateState receives from it

	mu     sync.Mutex // guards what follows
	events []string   // "a,b" or an error
	last   grpcresolver.State
}

func (c *recorder) UpdateState(s grpcresolver.State) error {
	ids := make([]string, len(s.Endpoints))
	for i, ep := range s.Endpoints {
		ids[i] = resolver.InstanceOf(ep).ID
	}
	c.note("["+strings.Join(ids, ",")+"]", s)
	if c.block != nil {
		<-c.block
	}
	return errors.New("the balancer does not like it")
}

func (c *recorder) ReportError(err error) { c.note(err.Error(), grpcresolver.State{}) }

func (c *recorder) note(event string, s grpcresolver.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events, c.last = append(c.events, event), s
}

// expect compares what was noted since the last call, when all is quiet. An
// event that ends in … need only begin so.
func (c *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	ok := len(c.events) == len(want)
	for i := 0; ok && i < len(want); i++ {
		prefix, open := strings.CutSuffix(want[i], "…")
		ok = c.events[i] == want[i] || open && strings.HasPrefix(c.events[i], prefix)
	}
	if !ok {
		t.Fatalf("the ClientConn was told\n\t%s\nwant\n\t%s", strings.Join(c.events, "\n\t"), strings.Join(want, "\n\t"))
	}
	c.events = nil
}

func build(t *testing.T, b grpcresolver.Builder, cc grpcresolver.ClientConn) grpcresolver.Resolver {
	t.Helper()
	return buildFor(t, "svc", b, cc)
}

func buildFor(t *testing.T, service string, b grpcresolver.Builder, cc grpcresolver.ClientConn) grpcresolver.Resolver {
	t.Helper()
	r, err := b.Build(grpcresolver.Target{URL: url.URL{Scheme: "micro", Path: "/" + service}}, cc, grpcresolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func builder(d resolver.Discovery, opts ...resolver.BuilderOption) grpcresolver.Builder {
	return resolver.NewBuilder(d, append(opts, resolver.WithLogger(quiet))...)
}

// What a ClientConn is told, from a service that nobody has heard of to one that
// comes, goes and comes back.
func TestWatchReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		cc := &recorder{}
		defer build(t, builder(m), cc).Close()
		cc.expect(t, "resolver: no instances of svc…")
		a := register(t, m, instance("a", "h:1"))
		b := register(t, m, instance("b", "h:2"))
		synctest.Wait()
		cc.mu.Lock()
		if got := cc.events[len(cc.events)-1]; got != "[a,b]" { // one by one, or both as one
			t.Errorf("last told %s", got)
		}
		for _, ep := range cc.last.Endpoints {
			if addr := ep.Addresses[0]; addr.ServerName != "" || addr.Attributes != nil {
				t.Errorf("an address has more than an address: %+v", addr)
			}
		}
		cc.events = nil
		cc.mu.Unlock()
		drained := instance("a", "h:1")
		drained.Draining = true
		if err := a.Update(t.Context(), drained); err != nil {
			t.Fatal(err)
		}
		cc.expect(t, "[a,b]")
		_ = a.Deregister(t.Context())
		cc.expect(t, "[b]")
		_ = b.Deregister(t.Context())
		cc.expect(t, "[]", "resolver: no instances of svc…")
		register(t, m, instance("c", "h:3"))
		cc.expect(t, "[c]")
	})
}

func TestWatchReportsSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan []*resolver.Instance)
		d := &scripted{func(ctx context.Context, yield func([]*resolver.Instance, error) bool) {
			select {
			case insts := <-answer:
				yield(insts, nil)
				<-ctx.Done()
			case <-ctx.Done():
			}
		}}
		cc := &recorder{}
		r := build(t, builder(d, resolver.WithLinger(0)), cc)
		time.Sleep(2*time.Second - 1)
		cc.expect(t)
		time.Sleep(time.Nanosecond)
		cc.expect(t, "resolver: no answer about svc for 2s…")
		answer <- []*resolver.Instance{instance("a", "h:1")}
		cc.expect(t, "[a]")
		r.Close()
	})
}

// The reason of the first failure is worth more than that two seconds have
// passed; what is known is worth more than both.
func TestWatchReportsFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var healthy atomic.Bool
		d := &scripted{func(_ context.Context, yield func([]*resolver.Instance, error) bool) {
			if healthy.Load() {
				yield([]*resolver.Instance{instance("a", "h:1")}, nil)
			}
			yield(nil, errAway)
		}}
		b := builder(d, resolver.WithLinger(0))
		first, second := &recorder{}, &recorder{}
		r := build(t, b, first)
		first.expect(t, "resolver: watch svc: the registry is away")
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, event := range first.events {
			if event != "resolver: watch svc: the registry is away" {
				t.Errorf("told %s", event)
			}
		}
		first.events = nil
		r2 := build(t, b, second)
		second.expect(t, "resolver: watch svc: the registry is away") // inside Build, so that no call waits
		healthy.Store(true)
		time.Sleep(10 * time.Second)
		first.expect(t, "[a]")
		second.events = nil
		time.Sleep(time.Hour)
		first.expect(t) // fails on and on, and lists the same: nothing to tell
		r.Close()
		r2.Close()
	})
}

// A watch that yields and fails at once must not become a hot loop, whatever
// grpc asks for.
func TestWatchBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ranges atomic.Int32
		d := &scripted{func(_ context.Context, yield func([]*resolver.Instance, error) bool) {
			ranges.Add(1)
			_ = yield([]*resolver.Instance{instance("a", "h:1")}, nil) && yield(nil, errAway)
		}}
		cc := &recorder{}
		r := build(t, builder(d, resolver.WithLinger(0)), cc)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := ranges.Load(); n < 100 || n > 180 {
			t.Errorf("%d watches in ten minutes, want one each 5 s", n)
		}
		cc.expect(t, "[a]")

		ranges.Store(0)
		for range 100 { // a nudge each 100 ms, as from connections that fail
			time.Sleep(100 * time.Millisecond)
			r.ResolveNow(grpcresolver.ResolveNowOptions{})
		}
		synctest.Wait()
		if n := ranges.Load(); n < 5 || n > 11 {
			t.Errorf("%d watches in ten seconds of nudges, want one a second", n)
		}
		r.Close()
	})
}

func TestLinger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int32
		d := &scripted{func(ctx context.Context, yield func([]*resolver.Instance, error) bool) {
			open.Add(1)
			if yield([]*resolver.Instance{instance("a", "h:1")}, nil) {
				<-ctx.Done()
			}
			open.Add(-1)
		}}
		for range 3 { // each within the linger of the one before
			cc := &recorder{}
			r := build(t, builder(d), cc)
			cc.expect(t, "[a]")
			r.Close()
			time.Sleep(29 * time.Second)
		}
		cc := &recorder{}
		r := build(t, builder(d), cc)
		if got := fmt.Sprint(cc.events); got != "[[a]]" { // without a wait: inside Build
			t.Errorf("Build tells %s of a lingering watch", got)
		}
		if n := open.Load(); n != 1 {
			t.Errorf("%d watches, want 1", n)
		}
		r.Close()
		time.Sleep(30*time.Second - 1)
		if open.Load() != 1 {
			t.Error("the watch ends before its linger")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if open.Load() != 0 {
			t.Error("the watch outlives its linger")
		}
	})
}

// A ClientConn that is slow holds up nobody else, and sees the latest when it
// looks again.
func TestSlowConn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		reg := register(t, m, instance("a", "h:1"))
		slow, fast := &recorder{block: make(chan struct{}, 1)}, &recorder{}
		slow.block <- struct{}{} // for the first update, which may come inside Build
		rSlow, rFast := build(t, builder(m), slow), build(t, builder(m), fast)
		slow.expect(t, "[a]")
		fast.expect(t, "[a]")
		for weight := range uint32(10) {
			inst := instance("a", "h:1")
			inst.Weight = weight + 2
			if err := reg.Update(t.Context(), inst); err != nil {
				t.Fatal(err)
			}
			fast.expect(t, "[a]")
		}
		slow.expect(t, "[a]") // with the first change, and slow with that
		slow.block <- struct{}{}
		slow.expect(t, "[a]")
		if w := resolver.InstanceOf(slow.last.Endpoints[0]).Weight; w != 11 {
			t.Errorf("the slow one sees weight %d, want the latest, 11", w)
		}

		closed := make(chan struct{})
		go func() { rSlow.Close(); close(closed) }() // waits for the UpdateState under way
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returns while UpdateState runs")
		default:
		}
		close(slow.block)
		<-closed
		rFast.Close()
		_ = reg.Deregister(t.Context())
		slow.expect(t)
		fast.expect(t)
	})
}

// A registry that is listed anew has new pointers; who did not change keeps the
// old one, and with it its endpoint.
func TestListedAnewKeepsPointers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := make(chan []*resolver.Instance)
		d := &scripted{func(ctx context.Context, yield func([]*resolver.Instance, error) bool) {
			select {
			case insts := <-next:
				_ = yield(insts, nil) && yield(nil, errAway)
			case <-ctx.Done():
			}
		}}
		cc := &recorder{}
		r := build(t, builder(d, resolver.WithGrace(0), resolver.WithLinger(0)), cc)
		next <- []*resolver.Instance{instance("b", "h:1"), instance("d", "h:2")}
		cc.expect(t, "[b,d]")
		before := cc.last.Endpoints
		relisted := []*resolver.Instance{instance("a", "h:0"), instance("b", "h:1"), instance("c", "h:3"), instance("d", "h:2"), instance("e", "h:4")}
		given := relisted[1]
		next <- relisted
		cc.expect(t, "[a,b,c,d,e]")
		after := cc.last.Endpoints
		for i, at := range []int{1, 3} {
			if resolver.InstanceOf(before[i]) != resolver.InstanceOf(after[at]) || before[i].Attributes != after[at].Attributes {
				t.Errorf("%s has another pointer", resolver.InstanceOf(before[i]).ID)
			}
		}
		if relisted[1] != given {
			t.Error("the slice of the registry was written")
		}
		next <- []*resolver.Instance{instance("e", "h:4")}
		cc.expect(t, "[e]")
		if resolver.InstanceOf(cc.last.Endpoints[0]) != resolver.InstanceOf(after[4]) {
			t.Error("e has another pointer")
		}
		r.Close()
	})
}

func TestClosedRegistry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := resolver.NewMemory()
		register(t, m, instance("a", "h:1"))
		old, late := &recorder{}, &recorder{}
		r := build(t, builder(m), old)
		old.expect(t, "[a]")
		_ = m.Close()
		time.Sleep(time.Hour)
		old.expect(t) // it goes on with what it knows
		r2 := build(t, builder(m), late)
		late.expect(t, "resolver: watch svc: resolver: the registry is closed")
		r.Close()
		r2.Close()
	})
}

// uncomparable would panic as a map key.
type uncomparable struct {
	*scripted

	_ []int
}

func TestUncomparableDiscovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ranges atomic.Int32
		d := &scripted{func(ctx context.Context, yield func([]*resolver.Instance, error) bool) {
			ranges.Add(1)
			if yield([]*resolver.Instance{instance("a", "h:1")}, nil) {
				<-ctx.Done()
			}
		}}
		for _, d := range []resolver.Discovery{uncomparable{scripted: d}, struct{ resolver.Discovery }{uncomparable{scripted: d}}} {
			b, one, two := builder(d, resolver.WithLinger(0)), &recorder{}, &recorder{}
			r, r2 := build(t, b, one), build(t, b, two)
			one.expect(t, "[a]")
			two.expect(t, "[a]")
			r.Close()
			r2.Close()
		}
		if n := ranges.Load(); n != 2 {
			t.Errorf("%d watches of two Discoveries, want one a builder", n)
		}
	})
}
