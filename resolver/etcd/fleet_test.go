package etcd_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/etcd"
)

// shortTTL makes leases end while a test waits, and not while a busy machine stands
// still for a moment: that is no outage, and what ends then is believed to be gone.
const shortTTL = 4 * time.Second

// fleet is a service of several servers that announce themselves in etcd, and a
// client that finds them there and calls them all the time. None of the calls may
// fail, whatever happens to etcd.
type fleet struct {
	t       testing.TB
	direct  *registry // to see what is in etcd
	ttl     time.Duration
	servers map[string]*server
	conn    *grpc.ClientConn
	calls   atomic.Int64
	callers sync.WaitGroup
	hush    func() // ends the calls

	mu       sync.Mutex // guards failures
	failures []string
}

// server is one of the fleet.
type server struct {
	addr      string
	announcer *resolver.Announcer
	stop      func()
}

// startFleet starts a client and servers, which find etcd at endpoints, while the
// test itself looks at the direct ones.
func startFleet(t testing.TB, direct, endpoints []string, servers int, opts ...resolver.BuilderOption) *fleet {
	t.Helper()
	return startFleetOf(t, shortTTL, direct, endpoints, servers, opts...)
}

func startFleetOf(t testing.TB, ttl time.Duration, direct, endpoints []string, servers int, opts ...resolver.BuilderOption) *fleet {
	t.Helper()
	f := &fleet{t: t, ttl: ttl, servers: make(map[string]*server)}
	f.direct = openOn(t, connect(t, direct), "p")
	for i := range servers {
		f.start(fmt.Sprintf("s%d", i), endpoints)
	}
	r := openOn(t, connectAs(t, endpoints), "p")
	conn, err := grpc.NewClient("micro:///svc",
		grpc.WithResolvers(resolver.NewBuilder(r, append(opts, resolver.WithLogger(quiet), resolver.WithLinger(0))...)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	f.conn = conn
	f.registered()
	f.reaches(servers)
	ctx, cancel := context.WithCancel(context.Background())
	for range 2 {
		f.callers.Go(func() { f.load(ctx) })
	}
	f.hush = func() {
		cancel()
		f.callers.Wait()
	}
	t.Cleanup(f.end)
	return f
}

// connectAs connects as Open does: quick to find out that etcd is back.
func connectAs(t testing.TB, endpoints []string) *clientv3.Client {
	t.Helper()
	return connect(t, endpoints, grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
		MinConnectTimeout: 5 * time.Second,
	}))
}

// reaches waits until calls go to so many servers.
func (f *fleet) reaches(servers int) {
	f.t.Helper()
	reached := make(map[string]bool)
	wait.Until(f.t, "calls to every server", func() bool {
		var from peer.Peer
		_, err := grpc_health_v1.NewHealthClient(f.conn).Check(deadline(f.t), &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true), grpc.Peer(&from))
		if err == nil {
			reached[from.Addr.String()] = true
		}
		return len(reached) == servers
	})
}

// start starts a server with a registry of its own.
func (f *fleet) start(id string, endpoints []string) {
	f.t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	srv := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	inst := instance(id)
	inst.Addrs = []string{lis.Addr().String()}
	r := openOn(f.t, connectAs(f.t, endpoints), "p", etcd.WithTTL(f.ttl))
	a := resolver.NewAnnouncer(r, inst)
	a.SetLogger(quiet)
	ctx, cancel := context.WithCancel(context.Background())
	var tasks, serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(lis) })
	tasks.Go(func() { _ = a.Run(ctx) })
	s := &server{addr: inst.Addrs[0], announcer: a}
	s.stop = func() {
		cancel()
		tasks.Wait()
		srv.GracefulStop()
		serving.Wait()
	}
	f.servers[id] = s
}

// retire stops a server as one should: it drains, withdraws, and ends what it has
// begun.
func (f *fleet) retire(id string) {
	f.t.Helper()
	s := f.servers[id]
	delete(f.servers, id)
	if err := s.announcer.Update(deadline(f.t), func(i *resolver.Instance) { i.Draining = true }); err != nil {
		f.t.Error(err)
	}
	s.stop()
}

// load calls on and on.
func (f *fleet) load(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		f.call()
		<-tick.C
	}
}

// end stops the calls, and then what they went to. The test fails if a call has.
func (f *fleet) end() {
	f.hush()
	_ = f.conn.Close()
	for _, s := range f.servers {
		s.stop()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failures != nil {
		f.t.Errorf("%d of %d calls failed, the first with %s", len(f.failures), f.calls.Load(), f.failures[0])
	}
}

func (f *fleet) call() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f.calls.Add(1)
	if _, err := grpc_health_v1.NewHealthClient(f.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.failures = append(f.failures, time.Now().Format("15:04:05.000 ")+err.Error())
	}
}

// registered waits until each server is in etcd, and knows that it is.
func (f *fleet) registered() {
	f.t.Helper()
	wait.Until(f.t, "every server to be registered", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		res, err := f.direct.client.Get(ctx, "p/svc/", clientv3.WithPrefix())
		if err != nil || len(res.Kvs) != len(f.servers) {
			return false
		}
		for _, s := range f.servers {
			if !s.announcer.State().Registered {
				return false
			}
		}
		return true
	})
}

// recovered waits until each server is registered again, and stays so.
func (f *fleet) recovered(what string) {
	f.t.Helper()
	began := time.Now()
	f.registered()
	took := time.Since(began)
	pass(shortTTL + time.Second) // leases from before the outage have ended by now
	f.registered()
	registrations := int64(0)
	for _, s := range f.servers {
		registrations += s.announcer.State().Registrations
	}
	f.t.Logf("%s: all %d servers were registered %v after it (%d registrations in all), %d calls",
		what, len(f.servers), took.Round(time.Millisecond), registrations, f.calls.Load())
}
