package balancer_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/resolver"
)

// subsetted is a client that connects to a few of many instances.
type subsetted struct {
	*picks

	up map[string]*fakeSub // connected, by address
}

func newSubsetted(t *testing.T, policy, config string, insts []*resolver.Instance) *subsetted {
	t.Helper()
	cc, b, update := start(t, policy, config, insts)
	t.Cleanup(b.Close)
	s := &subsetted{&picks{cc, update}, map[string]*fakeSub{}}
	s.connect()
	return s
}

// connect lets everything come up that the client dials, and forgets what it
// has closed. It needs the bubble of synctest to know when that is all.
func (s *subsetted) connect() {
	for {
		synctest.Wait()
		select {
		case sub := <-s.conn.dialed:
			sub.up()
			s.up[sub.addr] = sub
		default:
			for addr, sub := range s.up {
				if sub.closed.Load() {
					delete(s.up, addr)
				}
			}
			time.Sleep(20 * time.Millisecond) // changes that nobody waits for are published
			return
		}
	}
}

// 1,000 clients take 20 of 100 instances each: an instance has 200 of them,
// give or take what chance makes of it (12.6).
func TestSubsetsAreEven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, size, n = 1000, 20, 100
		load := map[string]int{}
		for c := range clients {
			s := newSubsetted(t, balancer.RoundRobin, fmt.Sprintf(`{"subset":{"size":%d,"key":"client %d"}}`, size, c), fleet(n))
			if len(s.up) != size {
				t.Fatalf("client %d has %d connections, want %d", c, len(s.up), size)
			}
			for addr := range s.up {
				load[addr]++
			}
		}
		least, most, squares := clients, 0, 0.0
		for _, inst := range fleet(n) {
			l := load[inst.Addrs[0]]
			least, most = min(least, l), max(most, l)
			squares += math.Pow(float64(l)-clients*size/n, 2)
		}
		deviation := math.Sqrt(squares / n)
		t.Logf("an instance has %d to %d clients of %d, standard deviation %.1f", least, most, clients*size/n, deviation)
		if deviation > 16 || least < 150 || most > 250 {
			t.Errorf("an instance has %d to %d clients of %d, standard deviation %.1f, want 12.6", least, most, clients*size/n, deviation)
		}
	})
}

// Of 100 instances, 10 leave and 10 come: a client with 20 changes about two
// connections for each, and has 20 all the time. When the first set is back, so
// is the first subset.
func TestSubsetsChangeLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		insts := fleet(110)
		changed := 0
		for c := range 50 {
			s := newSubsetted(t, balancer.RoundRobin, fmt.Sprintf(`{"subset":{"size":20,"key":"client %d"}}`, c), insts[:100])
			before := slices.Collect(keysOf(s.up))
			s.update(insts[10:])
			s.connect()
			for _, addr := range before {
				if s.up[addr] == nil {
					changed++
				}
			}
			if len(s.up) != 20 {
				t.Errorf("client %d has %d connections after the change, want 20", c, len(s.up))
			}
			for range 40 {
				s.next(t)
			}
			s.update(insts[:100])
			s.connect()
			for _, addr := range before {
				if s.up[addr] == nil {
					t.Errorf("client %d: with the first set, it has not the first subset", c)
				}
			}
		}
		t.Logf("10 of 100 instances are others: a client changes %.1f of 20 connections", float64(changed)/50)
		if changed > 50*5 {
			t.Errorf("a client changes %.1f of 20 connections, want about 3.8", float64(changed)/50)
		}
	})
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Members that cannot be reached have others in their place, and calls go on;
// one that is drained, too. They leave when the failed are back.
func TestSubsetReplacesTheFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		insts := fleet(100)
		s := newSubsetted(t, balancer.RoundRobin, `{"subset":{"size":5}}`, insts)
		var lost []*fakeSub
		for _, sub := range s.up {
			if len(lost) < 3 {
				sub.down()
				lost = append(lost, sub)
			}
		}
		s.connect()
		if len(s.up) != 8 {
			t.Errorf("with 3 of 5 lost it has %d connections, want 3 more", len(s.up)-3)
		}
		seen := map[string]bool{}
		for range 40 {
			seen[s.next(t)] = true
		}
		if len(seen) != 5 {
			t.Errorf("calls go to %d instances, want 5", len(seen))
		}
		for _, sub := range lost {
			if seen[sub.addr] {
				t.Errorf("calls go to %s, which is lost", sub.addr)
			}
			sub.up()
		}
		s.update(insts)
		s.connect()
		if len(s.up) != 5 {
			t.Errorf("with all back it has %d connections, want 5", len(s.up))
		}
		var drained string
		for i, inst := range insts {
			if s.up[inst.Addrs[0]] != nil {
				insts[i] = inst.Clone()
				insts[i].Draining = true
				drained = inst.Addrs[0]
				break
			}
		}
		s.update(insts)
		s.connect()
		if len(s.up) != 6 || s.up[drained] == nil {
			t.Errorf("with one draining it has %d connections, want 6 and that", len(s.up))
		}
	})
}

// No pick is blocked while a match exists: a call whose filter keeps nothing of
// the subset connects to what it keeps, as does a tier.
func TestSubsetConnectsOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		insts := fleet(1000)
		for _, inst := range insts[500:510] {
			inst.Zone = "rare"
		}
		s := newSubsetted(t, balancer.RoundRobin, `{"subset":{"size":3,"key":"c"}}`, insts)
		for _, inst := range insts[500:510] {
			if s.up[inst.Addrs[0]] != nil {
				t.Fatal("the rare are in the subset: choose another key")
			}
		}
		for _, ctx := range []context.Context{
			balancer.WithFilter(context.Background(), balancer.Zone("rare")),
			balancer.WithTiers(context.Background(), balancer.Zone("rare"), balancer.And()),
		} {
			p, _ := s.conn.latest()
			if _, err := p.Pick(grpcbalancer.PickInfo{Ctx: ctx}); !errors.Is(err, grpcbalancer.ErrNoSubConnAvailable) && len(s.up) == 3 {
				t.Fatalf("%v, want to wait", err)
			}
			s.connect()
			s.nextFor(t, ctx)
		}
		if len(s.up) != 6 {
			t.Errorf("%d connections, want 3 of the subset and 3 of the rare", len(s.up))
		}
		if addr := s.next(t); s.up[addr] == nil {
			t.Errorf("%s is not connected", addr)
		}
	})
}
