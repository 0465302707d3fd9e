package balancer_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
)

// BenchmarkBeside measures pickers in turns, batch by batch, so that their
// ratios mean something on a machine that others use, too. It reports ns a pick
// (the median) and how many times grpc's own policy that is: for round_robin's
// likes round_robin, for those that track calls least_request.
func BenchmarkBeside(b *testing.B) {
	plain := context.Background()
	for _, n := range []int{3, 100} {
		for _, group := range [][]besideCase{
			{
				{"grpc_round_robin", "round_robin", plain, n},
				{"round_robin", balancer.RoundRobin, plain, n},
				{"random", balancer.Random, plain, n},
				{"weighted", balancer.Weighted, plain, n},
			},
			{
				{"grpc_least_request", "least_request_experimental", plain, n},
				{"least_request", balancer.LeastRequest, plain, n},
				{"p2c", balancer.P2C, plain, n},
				{"hash", balancer.Hash, plain, n},
			},
		} {
			for _, workers := range []int{1, runtime.GOMAXPROCS(0)} {
				besideGroup(b, fmt.Sprintf("%d_instances_%d_goroutines/", n, workers), group, workers)
			}
		}
	}
}

// BenchmarkSaying measures what it costs to say something in a context: a plain
// pick with a bare context, and with one whose filter or tiers keep half of the
// instances, in turns.
func BenchmarkSaying(b *testing.B) {
	plain := context.Background()
	v2 := balancer.Version("v2")
	for _, policy := range []string{balancer.RoundRobin, balancer.P2C} {
		for _, n := range []int{3, 100, 10_000} {
			besideGroup(b, fmt.Sprintf("%s_%d/", policy, n), []besideCase{
				{"plain", policy, plain, n},
				{"filtered", policy, balancer.WithFilter(plain, v2), n},
				{"tiered", policy, balancer.WithTiers(plain, balancer.Zone("x"), v2, balancer.And()), n},
				{"both", policy, balancer.WithTiers(balancer.WithFilter(plain, v2), balancer.Zone("x"), balancer.And()), n},
				{"stream", policy, balancer.WithStream(plain), n},
			}, 1)
		}
	}
}

// BenchmarkFlat measures each policy at 3, 100 and 10,000 instances in turns.
func BenchmarkFlat(b *testing.B) {
	for _, policy := range policies {
		var cases []besideCase
		for _, n := range []int{3, 100, 10_000} {
			cases = append(cases, besideCase{fmt.Sprintf("%s_%d", policy, n), policy, context.Background(), n})
		}
		besideGroup(b, "", cases, 1)
	}
}

// BenchmarkRealConnections is how long 2,000 real connections take to come up,
// from the dial until the server has seen the last of them.
func BenchmarkRealConnections(b *testing.B) {
	const n = 2000
	s := serve(b, "0.0.0.0:0")
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		b.Fatal(err)
	}
	insts := fleet(n)
	for i, inst := range insts {
		inst.Addrs = []string{fmt.Sprintf("127.1.%d.%d:%s", i>>8, i&255, port)}
	}
	times := map[string][]float64{}
	policies := []string{balancer.RoundRobin, "round_robin"}
	for range 5 {
		for _, policy := range policies {
			s.conns.Store(0)
			began := time.Now()
			ch := dial(b, `{"`+policy+`":{}}`, insts...)
			ch.conn.Connect()
			wait.Until(b, "all connections", func() bool { return s.conns.Load() >= n })
			times[policy] = append(times[policy], float64(time.Since(began))/float64(time.Millisecond))
			ch.conn.Close()
		}
	}
	for _, policy := range policies {
		slices.Sort(times[policy])
		b.Run(policy, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(times[policy][2], "ms")
		})
	}
}

type besideCase struct {
	name, policy string
	ctx          context.Context
	n            int // instances
}

func besideGroup(b *testing.B, prefix string, cases []besideCase, workers int) {
	batch, rounds := 5000, 41
	if workers > 1 { // long enough that they meet
		batch, rounds = 100_000, 15
	}
	times := make([][]float64, len(cases))
	pickers := make([]grpcbalancer.Picker, len(cases))
	for i, c := range cases {
		if same := slices.IndexFunc(cases[:i], func(o besideCase) bool { return o.policy == c.policy && o.n == c.n }); same >= 0 {
			pickers[i] = pickers[same] // another would cost the first its place in the caches
			continue
		}
		cc, lb, update := bringUp(b, c.policy, `{}`, fleet(c.n))
		defer lb.Close()
		update(fleet(c.n)) // publishes what is up
		pickers[i], _ = cc.latest()
	}
	for round := range rounds {
		for i, c := range cases {
			info := grpcbalancer.PickInfo{Ctx: c.ctx}
			began := time.Now()
			parallel(workers, func(int) {
				for range batch {
					pick(b, pickers[i], info)
				}
			})
			if round > 0 { // the first warms caches
				times[i] = append(times[i], float64(time.Since(began))/float64(batch*workers))
			}
		}
	}
	base := 0.0
	for i, c := range cases {
		slices.Sort(times[i])
		median := times[i][len(times[i])/2]
		if i == 0 {
			base = median
		}
		b.Run(prefix+c.name, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median, "ns/pick")
			b.ReportMetric(median/base, "x-first")
		})
	}
}
