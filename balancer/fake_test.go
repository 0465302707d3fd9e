package balancer_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	grpcbalancer "google.golang.org/grpc/balancer"
	_ "google.golang.org/grpc/balancer/leastrequest"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// fakeConn is a grpc ClientConn whose connections are up when the test says
// so: for scales at which real ones would measure the kernel.
type fakeConn struct {
	grpcbalancer.ClientConn

	dialed chan *fakeSub // those that are to connect

	mu      sync.Mutex
	picker  grpcbalancer.Picker
	pickers int
	subs    map[string]*fakeSub
}

func (c *fakeConn) UpdateState(s grpcbalancer.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.picker = s.Picker
	c.pickers++
}

func (c *fakeConn) NewSubConn(addrs []grpcresolver.Address, opts grpcbalancer.NewSubConnOptions) (grpcbalancer.SubConn, error) {
	s := &fakeSub{dialed: c.dialed, addr: addrs[0].Addr, listen: opts.StateListener}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs[s.addr] = s
	return s, nil
}

// sub returns the latest connection to an address.
func (c *fakeConn) sub(addr string) *fakeSub {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subs[addr]
}

func (c *fakeConn) ResolveNow(grpcresolver.ResolveNowOptions) {}
func (c *fakeConn) Target() string                            { return "micro:///svc" }

func (c *fakeConn) latest() (grpcbalancer.Picker, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.picker, c.pickers
}

type fakeSub struct {
	grpcbalancer.SubConn

	dialed chan *fakeSub
	addr   string
	closed atomic.Bool
	listen func(grpcbalancer.SubConnState)
	health func(grpcbalancer.SubConnState) // nil: nobody asked
}

func (s *fakeSub) Connect()                                                 { s.dialed <- s }
func (s *fakeSub) Shutdown()                                                { s.closed.Store(true) }
func (s *fakeSub) RegisterHealthListener(f func(grpcbalancer.SubConnState)) { s.health = f }

// down is a connection that is lost, and cannot be made again.
func (s *fakeSub) down() {
	s.listen(grpcbalancer.SubConnState{ConnectivityState: connectivity.Idle})
	for sub := <-s.dialed; sub.addr != s.addr; sub = <-s.dialed { // it connects again
		s.dialed <- sub
	}
	s.listen(grpcbalancer.SubConnState{ConnectivityState: connectivity.Connecting})
	s.listen(grpcbalancer.SubConnState{ConnectivityState: connectivity.TransientFailure, ConnectionError: errors.New("connection refused")})
}

func (s *fakeSub) up() {
	s.listen(grpcbalancer.SubConnState{ConnectivityState: connectivity.Connecting})
	s.listen(grpcbalancer.SubConnState{ConnectivityState: connectivity.Ready})
	if s.health != nil {
		s.health(grpcbalancer.SubConnState{ConnectivityState: connectivity.Ready})
	}
}

// policies are all that this package has.
var policies = []string{
	balancer.RoundRobin, balancer.Random, balancer.Weighted,
	balancer.LeastRequest, balancer.P2C, balancer.Hash,
}

// fleet is n instances, every second of them v2.
func fleet(n int) []*resolver.Instance {
	insts := make([]*resolver.Instance, n)
	for i := range insts {
		insts[i] = &resolver.Instance{ID: fmt.Sprintf("%05d", i), Service: "svc", Version: fmt.Sprintf("v%d", i%2+1), Addrs: []string{fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255)}}
	}
	return insts
}

// bringUp builds a balancer and lets every connection come up, one by one.
func bringUp(t testing.TB, policy, config string, insts []*resolver.Instance) (*fakeConn, grpcbalancer.Balancer, func([]*resolver.Instance)) {
	t.Helper()
	cc, b, update := start(t, policy, config, insts)
	for range insts {
		(<-cc.dialed).up()
	}
	return cc, b, update
}

// start builds a balancer, which connects as far as the test lets it.
func start(t testing.TB, policy, config string, insts []*resolver.Instance) (*fakeConn, grpcbalancer.Balancer, func([]*resolver.Instance)) {
	t.Helper()
	cc := &fakeConn{dialed: make(chan *fakeSub, 2*len(insts)), subs: map[string]*fakeSub{}}
	builder := grpcbalancer.Get(policy)
	var cfg serviceconfig.LoadBalancingConfig
	if parser, ok := builder.(grpcbalancer.ConfigParser); ok {
		var err error
		if cfg, err = parser.ParseConfig([]byte(config)); err != nil {
			t.Fatal(err)
		}
	}
	b := builder.Build(cc, grpcbalancer.BuildOptions{Target: grpcresolver.Target{URL: url.URL{Scheme: "micro", Path: "/svc"}}})
	update := func(insts []*resolver.Instance) {
		if err := b.UpdateClientConnState(grpcbalancer.ClientConnState{ResolverState: state(insts), BalancerConfig: cfg}); err != nil {
			t.Fatal(err)
		}
	}
	update(insts)
	return cc, b, update
}

func TestTenThousandInstances(t *testing.T) {
	t.Parallel()
	const n = 10_000
	cc, b, update := bringUp(t, balancer.RoundRobin, `{}`, fleet(n))
	defer b.Close()
	seen := map[grpcbalancer.SubConn]int{}
	wait.Until(t, "the last picker", func() bool {
		p, _ := cc.latest()
		clear(seen)
		for range n {
			res, err := p.Pick(grpcbalancer.PickInfo{Ctx: context.Background()})
			if err != nil {
				t.Fatal(err)
			}
			seen[res.SubConn]++
		}
		return len(seen) == n
	})
	_, pickers := cc.latest()
	t.Logf("%d pickers for %d instances", pickers, n)
	update(fleet(n)[:n/2])
	p, _ := cc.latest()
	for range n {
		if _, err := p.Pick(grpcbalancer.PickInfo{Ctx: context.Background()}); err != nil {
			t.Fatal(err)
		}
	}
}

// No pick and no Done allocates, whatever the policy, whatever the connection
// and the call say.
func TestPicksDoNotAllocate(t *testing.T) {
	const everything = `{"filter":{"not":{"zone":"z"}},"tiers":[{"zone":"x"},"any"],"methods":{"svc":{"filter":{"not":{"zone":"y"}}}},
		"zoneFirst":{"zone":"a"},"ejection":{"latencyFactor":2},"connectionsPerInstance":1,"latency":{}}`
	plain := context.Background()
	for _, policy := range policies {
		for _, config := range []string{`{}`, everything} {
			for _, n := range []int{3, 10_000} {
				if config == everything {
					n = min(n, 100) // what 10,000 differ in has been seen without
				}
				cc, b, _ := bringUp(t, policy, config, fleet(n))
				defer b.Close()
				p, _ := cc.latest()
				for name, ctx := range map[string]context.Context{
					"plain":    plain,
					"hashed":   balancer.WithHashKey(plain, "key"),
					"stream":   balancer.WithStream(plain),
					"filtered": balancer.WithFilter(plain, balancer.And(balancer.Version("v2"), balancer.Not(balancer.Zone("x")))),
					"tiered":   balancer.WithTiers(plain, balancer.Zone("x"), balancer.Version("v2")),
				} {
					info := grpcbalancer.PickInfo{Ctx: ctx, FullMethodName: "/svc/Method"}
					if allocs := testing.AllocsPerRun(1000, func() { pick(t, p, info) }); allocs != 0 {
						t.Errorf("%s %s, %d instances, %s: %v allocations a pick", policy, config, n, name, allocs)
					}
				}
			}
		}
	}
}

func pick(t testing.TB, p grpcbalancer.Picker, info grpcbalancer.PickInfo) {
	res, err := p.Pick(info)
	if err != nil {
		t.Fatal(err)
	}
	if res.Done != nil {
		res.Done(answered)
	}
}

func BenchmarkPick(b *testing.B) {
	for _, policy := range append([]string{"round_robin", "least_request_experimental"}, policies...) {
		for _, n := range []int{3, 100, 10_000} {
			if n == 10_000 && policy[:6] != "micro_" {
				continue // grpc's own take too long to come up
			}
			cc, lb, _ := bringUp(b, policy, `{}`, fleet(n))
			p, _ := cc.latest()
			for name, ctx := range map[string]context.Context{"plain": context.Background(), "filtered": balancer.WithFilter(context.Background(), balancer.Version("v2"))} {
				if name == "filtered" && policy[:6] != "micro_" {
					continue
				}
				info := grpcbalancer.PickInfo{Ctx: ctx}
				b.Run(fmt.Sprintf("%s/%d/%s", policy, n, name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						pick(b, p, info)
					}
				})
				b.Run(fmt.Sprintf("%s/%d/%s/parallel", policy, n, name), func(b *testing.B) {
					b.ReportAllocs()
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							pick(b, p, info)
						}
					})
				})
			}
			lb.Close()
		}
	}
}

func BenchmarkBringUp(b *testing.B) {
	for _, test := range []struct {
		policy string
		n      int
	}{{balancer.RoundRobin, 1000}, {"round_robin", 1000}, {balancer.RoundRobin, 2000}, {"round_robin", 2000}, {balancer.RoundRobin, 10_000}, {"round_robin", 10_000}} {
		b.Run(fmt.Sprintf("%s/%d", test.policy, test.n), func(b *testing.B) {
			b.ReportAllocs()
			insts := fleet(test.n)
			for b.Loop() {
				_, lb, _ := bringUp(b, test.policy, `{}`, insts)
				lb.Close()
			}
		})
	}
}

// BenchmarkChange is one instance of many that begins or ends to drain. The
// resolver keeps the endpoints of the others, as package resolver's does.
func BenchmarkChange(b *testing.B) {
	for _, test := range []struct {
		policy string
		n      int
	}{{balancer.RoundRobin, 1000}, {"round_robin", 1000}, {balancer.RoundRobin, 10_000}, {"round_robin", 10_000}} {
		b.Run(fmt.Sprintf("%s/%d", test.policy, test.n), func(b *testing.B) {
			insts := fleet(test.n)
			_, lb, _ := bringUp(b, test.policy, `{}`, insts)
			defer lb.Close()
			endpoints := state(insts).Endpoints
			at := test.n / 2
			b.ReportAllocs()
			for b.Loop() {
				insts[at] = insts[at].Clone()
				insts[at].Draining = !insts[at].Draining
				endpoints = slices.Clone(endpoints)
				endpoints[at] = resolver.EndpointOf(insts[at])
				if err := lb.UpdateClientConnState(grpcbalancer.ClientConnState{ResolverState: grpcresolver.State{Endpoints: endpoints}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
