package balancer_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/resolver"
)

// judged is a client whose calls end as the test says, in virtual time.
type judged struct{ *picks }

// call makes n calls and returns how often each instance was picked; those of
// the one at bad end with info.
func (j judged) call(t *testing.T, ctx context.Context, n int, bad string, info grpcbalancer.DoneInfo) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for range n {
		p, _ := j.conn.latest()
		res, err := p.Pick(grpcbalancer.PickInfo{Ctx: ctx})
		if err != nil {
			t.Fatal(err)
		}
		addr := res.SubConn.(*fakeSub).addr
		seen[addr]++
		if addr == bad {
			res.Done(info)
		} else {
			res.Done(answered)
		}
		synctest.Wait() // what it leads to has happened
	}
	return seen
}

func failure(code codes.Code) grpcbalancer.DoneInfo {
	return grpcbalancer.DoneInfo{Err: status.Error(code, "bad"), BytesSent: true}
}

// Five failures in a row eject an instance, and each time for longer; only
// infrastructure's codes count, and an answer between them starts the count
// anew.
func TestEjectionAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		insts := fleet(4)
		bad := insts[1].Addrs[0]
		j := judged{newPicks(t, balancer.RoundRobin, `{"ejection":{"time":"10s","maxTime":"25s","interval":"1h"}}`, insts)}
		bg := context.Background()

		for _, info := range []grpcbalancer.DoneInfo{
			failure(codes.NotFound), failure(codes.Internal), failure(codes.DeadlineExceeded), failure(codes.Canceled),
			{},
			{Err: status.Error(codes.Unavailable, ""), BytesSent: true, Trailer: metadata.Pairs("micro-refused", "1")},
		} {
			if seen := j.call(t, bg, 80, bad, info); seen[bad] != 20 {
				t.Errorf("%v: %d of 80 calls, want 20: it is no failure of the instance", info, seen[bad])
			}
		}
		for range 5 { // four failures, and an answer
			j.call(t, bg, 16, bad, failure(codes.Unavailable))
			j.call(t, bg, 4, bad, answered)
		}
		for n, out := range []time.Duration{10 * time.Second, 20 * time.Second, 25 * time.Second, 25 * time.Second} {
			if seen := j.call(t, bg, 400, bad, failure(codes.Unavailable)); seen[bad] != 5 {
				t.Errorf("ejection %d: it had %d calls, want 5", n+1, seen[bad])
			}
			time.Sleep(out - time.Second)
			if seen := j.call(t, bg, 40, bad, answered); seen[bad] != 0 {
				t.Errorf("ejection %d: it has %d of 40 calls a second before its end", n+1, seen[bad])
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if seen := j.call(t, bg, 40, bad, answered); seen[bad] != 10 {
				t.Errorf("ejection %d: it has %d of 40 calls after its end, want 10", n+1, seen[bad])
			}
		}
	})
}

// However many fail, so many percent of the instances are ejected and no more,
// and never the last one; and who is ejected is still better than nobody.
func TestEjectionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct{ n, percent, out int }{{10, 30, 3}, {10, 5, 1}, {2, 10, 1}, {2, 100, 1}, {1, 100, 0}} {
			insts := fleet(test.n)
			config := `{"ejection":{"maxPercent":` + strconv.Itoa(test.percent) + `,"interval":"1h"}}`
			j := judged{newPicks(t, balancer.RoundRobin, config, insts)}
			for _, inst := range insts {
				j.call(t, context.Background(), 6*test.n, inst.Addrs[0], failure(codes.Unavailable))
			}
			if seen := j.call(t, context.Background(), 60*test.n, "", answered); len(seen) != test.n-test.out {
				t.Errorf("%d instances, all bad, %d %%: %d are picked, want %d", test.n, test.percent, len(seen), test.n-test.out)
			}
		}
	})
}

// Tiers and filters: an ejected instance is not usable, so the next tier is; if
// there is none, it is better than nobody.
func TestEjectionAndTiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		insts := fleet(4)
		insts[1].Zone = "x"
		bad := insts[1].Addrs[0]
		j := judged{newPicks(t, balancer.RoundRobin, `{"ejection":{}}`, insts)}
		only := balancer.WithTiers(context.Background(), balancer.Zone("x"))
		other := balancer.WithTiers(context.Background(), balancer.Zone("x"), balancer.And())
		if seen := j.call(t, other, 10, bad, failure(codes.Unavailable)); seen[bad] != 5 {
			t.Errorf("%d of 10 calls to the first tier, want 5", seen[bad])
		}
		if seen := j.call(t, only, 3, bad, answered); seen[bad] != 3 {
			t.Errorf("the only match is ejected, and has %d of 3 calls", seen[bad])
		}
	})
}

// With both rules that compare: who fails more often than the others do, and
// who is slower, is ejected at the end of the interval.
func TestEjectionByComparison(t *testing.T) {
	for _, test := range []struct {
		name, config string
		took         time.Duration // of the bad one
		fails        int           // of ten calls of the bad one
		out          bool
	}{
		{"fails every second call", `{"consecutiveFailures":0}`, time.Millisecond, 5, true},
		{"fails every second call, and that is off", `{"consecutiveFailures":0,"successRateDeviations":0}`, time.Millisecond, 5, false},
		{"is slow", `{"latencyFactor":3}`, 10 * time.Millisecond, 0, true},
		{"is slow, and that is off", `{}`, 10 * time.Millisecond, 0, false},
		{"is a little slow", `{"latencyFactor":3}`, 2 * time.Millisecond, 0, false},
		{"too few calls", `{"latencyFactor":3,"minCalls":2000}`, 10 * time.Millisecond, 5, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			insts := fleet(10)
			bad := insts[4].Addrs[0]
			picks := newPicks(t, balancer.Random, `{"ejection":`+test.config+`}`, insts)
			n := 0
			seen := func(calls int) int {
				there := 0
				for range calls {
					p, _ := picks.conn.latest()
					res, err := p.Pick(grpcbalancer.PickInfo{Ctx: context.Background()})
					if err != nil {
						t.Fatal(err)
					}
					if res.SubConn.(*fakeSub).addr != bad {
						time.Sleep(time.Millisecond)
						res.Done(answered)
						continue
					}
					there++
					time.Sleep(test.took)
					if n++; n%10 < test.fails && n%2 == 0 || n%10 < test.fails-5 {
						res.Done(failure(codes.Unavailable))
					} else {
						res.Done(answered)
					}
				}
				return there
			}
			seen(5000)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if after := seen(1000); (after == 0) != test.out {
				t.Errorf("%s: it has %d of 1,000 calls in the next interval; ejected: want %v", test.name, after, test.out)
			}
		})
	}
}

// A new instance has a tenth of its share at first and all of it after the
// window; those that were there when the client came have theirs at once.
func TestSlowStart(t *testing.T) {
	for _, policy := range []string{balancer.RoundRobin, balancer.Weighted, balancer.LeastRequest, balancer.P2C} {
		synctest.Test(t, func(t *testing.T) {
			insts := fleet(5)
			picks := newPicks(t, policy, `{"slowStart":{"window":"10s","minPercent":10}}`, insts[:4])
			share := func(insts []*resolver.Instance, i int) float64 {
				n := 0
				for range 5000 {
					if picks.next(t) == insts[i].Addrs[0] {
						n++
					}
				}
				return float64(n) / 5000 * float64(len(insts))
			}
			if s := share(insts[:4], 3); s < 0.85 || s > 1.15 {
				t.Errorf("%s: one of the first has %.2f of its share", policy, s)
			}
			picks.updateAndConnect(insts, 1)
			for _, step := range []struct{ low, high float64 }{{0.03, 0.25}, {0.3, 0.75}, {0.85, 1.15}} {
				if s := share(insts, 4); s < step.low || s > step.high {
					t.Errorf("%s: the new one has %.2f of its share, want %.2f to %.2f", policy, s, step.low, step.high)
				}
				time.Sleep(5 * time.Second)
			}
		})
	}
}
