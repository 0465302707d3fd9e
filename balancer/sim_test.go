package balancer_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/resolver"
)

// simulation is a client and its servers in the virtual time of synctest:
// everything but the servers and the network is real. Arrivals and service
// times come from a fixed seed.
type simulation struct {
	*picks

	rng     *rand.Rand
	servers map[string]*simServer // by address
}

// simServer has four workers, which take an exponentially distributed time.
type simServer struct {
	id      string
	workers chan struct{}

	mu     sync.Mutex
	mean   time.Duration
	broken bool // fails every call at once
	calls  int
}

func (s *simServer) set(mean time.Duration, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mean, s.broken = mean, broken
}

func simulate(t *testing.T, policy, config string, insts []*resolver.Instance) *simulation {
	t.Helper()
	s := &simulation{
		picks: newPicks(t, policy, config, insts),
		rng:   rand.New(rand.NewPCG(1, 2)), servers: map[string]*simServer{},
	}
	for _, inst := range insts {
		s.add(inst)
	}
	return s
}

func (s *simulation) add(inst *resolver.Instance) {
	s.servers[inst.Addrs[0]] = &simServer{id: inst.ID, workers: make(chan struct{}, 4), mean: 10 * time.Millisecond}
}

// outcomes is how calls went.
type outcomes struct {
	mu        sync.Mutex
	latencies []time.Duration
	failed    int
	at        map[string]int // calls by the ID of the instance
}

func (o *outcomes) note(id string, took time.Duration, failed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.latencies = append(o.latencies, took)
	o.at[id]++
	if failed {
		o.failed++
	}
}

func (o *outcomes) quantile(q float64) time.Duration {
	slices.Sort(o.latencies)
	return o.latencies[int(q*float64(len(o.latencies)-1))]
}

// run makes so many calls in that time, and waits for their ends.
func (s *simulation) run(t *testing.T, ctx context.Context, calls int, during time.Duration) *outcomes {
	t.Helper()
	o := &outcomes{at: map[string]int{}}
	gap := float64(during) / float64(calls)
	var wg sync.WaitGroup
	for range calls {
		time.Sleep(time.Duration(s.rng.ExpFloat64() * gap))
		picker, _ := s.conn.latest()
		res, err := picker.Pick(grpcbalancer.PickInfo{Ctx: ctx})
		if err != nil {
			o.note("", 0, true)
			continue
		}
		server := s.servers[res.SubConn.(*fakeSub).addr]
		work := s.rng.ExpFloat64()
		began := time.Now()
		wg.Go(func() {
			info := server.serve(work)
			if res.Done != nil {
				res.Done(info)
			}
			o.note(server.id, time.Since(began), info.Err != nil)
		})
	}
	wg.Wait()
	return o
}

func (s *simServer) serve(work float64) grpcbalancer.DoneInfo {
	s.mu.Lock()
	mean, broken := s.mean, s.broken
	s.calls++
	s.mu.Unlock()
	if broken {
		return grpcbalancer.DoneInfo{Err: status.Error(codes.Unavailable, "broken"), BytesSent: true}
	}
	s.workers <- struct{}{}
	time.Sleep(time.Duration(work * float64(mean)))
	<-s.workers
	return answered
}

// One of ten instances is ten times as slow as the others. Round robin gives it
// its tenth, so that every tenth call is slow; P2C finds out.
func TestOneSlowOfTen(t *testing.T) {
	quantiles := map[string][2]time.Duration{}
	for _, policy := range policies[:5] {
		synctest.Test(t, func(t *testing.T) {
			s := simulate(t, policy, `{}`, fleet(10))
			slow := s.servers[fleet(10)[3].Addrs[0]]
			slow.set(100*time.Millisecond, false)
			o := s.run(t, context.Background(), 20_000, 100*time.Second)
			quantiles[policy] = [2]time.Duration{o.quantile(0.5), o.quantile(0.99)}
			t.Logf("%s: p50 %v, p99 %v, %.1f %% of calls at the slow one", policy, o.quantile(0.5), o.quantile(0.99), 100*float64(o.at[slow.id])/20_000)
		})
	}
	if p, r := quantiles[balancer.P2C][1], quantiles[balancer.RoundRobin][1]; p > r/4 {
		t.Errorf("p99 is %v with P2C and %v with round robin, want a quarter at most", p, r)
	}
	if p := quantiles[balancer.P2C][1]; p > 70*time.Millisecond { // of ten equal ones: 46 ms
		t.Errorf("p99 is %v with P2C", p)
	}
}

// Ten equal instances, busy to two thirds, have equal shares: whoever is thought
// quick by chance gets more calls, and is no longer.
func TestP2CIsEven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, balancer.P2C, `{}`, fleet(10))
		o := s.run(t, context.Background(), 80_000, 30*time.Second)
		for id, n := range o.at {
			if n < 6400 || n > 9600 {
				t.Errorf("%s has %d of 80,000 calls, want 8,000, give or take a fifth", id, n)
			}
		}
		t.Logf("p50 %v, p99 %v, %v", o.quantile(0.5), o.quantile(0.99), o.at)
	})
}

// When the slow one is as quick as the others again, it has its share again,
// although nobody tells.
func TestP2CForgives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, balancer.P2C, `{}`, fleet(10))
		slow := s.servers[fleet(10)[3].Addrs[0]]
		slow.set(100*time.Millisecond, false)
		before := s.run(t, context.Background(), 10_000, 10*time.Second)
		slow.set(10*time.Millisecond, false)
		s.run(t, context.Background(), 30_000, 30*time.Second)
		after := s.run(t, context.Background(), 10_000, 10*time.Second)
		t.Logf("of 10,000 calls %d while it was slow, %d from 30 s after", before.at[slow.id], after.at[slow.id])
		if before.at[slow.id] > 200 || after.at[slow.id] < 600 {
			t.Errorf("%d of 10,000 calls while it was slow, want at most 200; %d after, want about 1,000", before.at[slow.id], after.at[slow.id])
		}
	})
}

// One of ten instances fails every call, at once. To a policy that counts calls
// in flight it looks like the quickest of all, and takes most of the calls; with
// ejection it has those that it takes to find out, again and again but ever more
// rarely.
func TestOneFailingOfTen(t *testing.T) {
	const calls = 10_000 // in 100 s
	for _, policy := range []string{balancer.RoundRobin, balancer.LeastRequest, balancer.P2C} {
		failed := map[string]int{}
		for _, config := range []string{`{}`, `{"ejection":{}}`} {
			synctest.Test(t, func(t *testing.T) {
				s := simulate(t, policy, config, fleet(10))
				s.servers[fleet(10)[3].Addrs[0]].set(0, true)
				failed[config] = s.run(t, context.Background(), calls, 100*time.Second).failed
			})
		}
		t.Logf("%s: %.2f %% of calls fail without ejection, %.2f %% with", policy, float64(failed[`{}`])*100/calls, float64(failed[`{"ejection":{}}`])*100/calls)
		if with := failed[`{"ejection":{}}`]; with > 30 || policy != balancer.P2C && failed[`{}`] < 20*with {
			t.Errorf("%s: %d of %d calls fail without ejection, %d with", policy, failed[`{}`], calls, with)
		}
	}
}

// The client's zone fails: all of its five instances, one after the other within
// ten seconds, and then they are back. Calls go to the other zone, and come home.
func TestZoneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		insts := fleet(10)
		for i, inst := range insts {
			inst.Zone = string(rune('a' + i/5))
		}
		s := simulate(t, balancer.LeastRequest, `{"zoneFirst":{"zone":"a"},"ejection":{"maxPercent":50,"time":"10s","maxTime":"10s"}}`, insts)
		home := func(o *outcomes) int {
			n := 0
			for _, inst := range insts[:5] {
				n += o.at[inst.ID]
			}
			return n
		}
		bg := context.Background()
		if o := s.run(t, bg, 1000, 10*time.Second); home(o) != 1000 {
			t.Errorf("%d of 1,000 calls stay when all is well", home(o))
		}
		failed := 0
		for _, inst := range insts[:5] {
			s.servers[inst.Addrs[0]].set(0, true)
			failed += s.run(t, bg, 200, 2*time.Second).failed
		}
		o := s.run(t, bg, 3000, 30*time.Second)
		t.Logf("while the zone fails, %d of 1,000 calls fail; then %d of 3,000, and %d stay", failed, o.failed, home(o))
		if failed > 50 || o.failed > 120 {
			t.Errorf("%d of 1,000 calls fail while the zone does, and %d of 3,000 later", failed, o.failed)
		}
		for _, inst := range insts[:5] {
			s.servers[inst.Addrs[0]].set(10*time.Millisecond, false)
		}
		s.run(t, bg, 1000, 30*time.Second)
		if o := s.run(t, bg, 1000, 10*time.Second); home(o) != 1000 || o.failed != 0 {
			t.Errorf("%d of 1,000 calls stay when the zone is back, %d fail", home(o), o.failed)
		}
	})
}

// A deploy replaces all ten instances, two at a time: new ones come, old ones
// drain and leave. No call fails, and at its end all have their share.
func TestDeploy(t *testing.T) {
	for _, policy := range policies {
		synctest.Test(t, func(t *testing.T) {
			config := `{"slowStart":{"window":"5s"},"ejection":{}}`
			if policy == balancer.Hash {
				config = `{"ejection":{}}`
			}
			insts := fleet(20)
			s := simulate(t, policy, config, insts[:10])
			for _, inst := range insts[10:] {
				s.add(inst)
			}
			failed := 0
			bg := context.Background()
			run := func(during time.Duration) { failed += s.run(t, bg, int(during/(5*time.Millisecond)), during).failed }
			run(time.Second)
			for i := 0; i < 10; i += 2 {
				s.updateAndConnect(insts[i:i+12], 2)
				run(2 * time.Second)
				leaving := slices.Clone(insts[i : i+12])
				for k := range 2 {
					leaving[k] = leaving[k].Clone()
					leaving[k].Draining = true
				}
				s.update(leaving)
				if o := s.run(t, bg, 200, time.Second); o.at[leaving[0].ID]+o.at[leaving[1].ID] != 0 {
					t.Errorf("%s: instances that drain have calls", policy)
				}
				s.update(insts[i+2 : i+12])
			}
			run(5 * time.Second)
			o := s.run(t, bg, 2000, 10*time.Second)
			low := 2000
			for _, inst := range insts[10:] {
				low = min(low, o.at[inst.ID])
			}
			if failed+o.failed != 0 || low < 80 {
				t.Errorf("%s: %d calls failed; at the end the least called has %d of 2,000 calls", policy, failed+o.failed, low)
			}
		})
	}
}
