package etcd_test

import (
	"context"
	"fmt"
	"net/url"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/grpc-micro/micro/resolver"
)

// In these benchmarks etcd is a process of its own, so that what is measured of
// this process is the client's part.

// usage is what this process uses.
type usage struct {
	heap, cpu  float64 // bytes, seconds
	goroutines int
}

func used() usage {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	cpu := time.Duration(r.Utime.Nano() + r.Stime.Nano())
	return usage{float64(mem.HeapAlloc), cpu.Seconds(), runtime.NumGoroutine()}
}

// report tells what n of something cost since before.
func (before usage) report(b *testing.B, n int) {
	b.Helper()
	now := used()
	b.ReportMetric((now.heap-before.heap)/float64(n)/1024, "KiB-each")
	b.ReportMetric(float64(now.goroutines-before.goroutines)/float64(n), "goroutines-each")
	b.ReportMetric((now.cpu-before.cpu)/float64(n)*1e6, "cpu-µs-each")
}

// idle reports what doing nothing costs for a while.
func idle(b *testing.B, traffic *received) {
	b.Helper()
	const length = 15 * time.Second
	before, messages := used(), traffic.messages.Load()
	pass(length)
	b.ReportMetric((used().cpu-before.cpu)/length.Seconds()*100, "idle-cpu-%")
	b.ReportMetric(float64(traffic.messages.Load()-messages)/length.Seconds(), "idle-answers/s")
}

// BenchmarkServices is a client of 1,000 services with three instances each: what
// a watch costs, when it begins and while nothing happens.
func BenchmarkServices(b *testing.B) {
	const services = 1_000
	c := startCluster(b, 1)
	servers := openOn(b, connect(b, c.endpoints()), "p")
	for i := range services {
		for j := range 3 {
			servers.put(fmt.Sprintf("svc-%d/%d", i, j), bareValue)
		}
	}
	for b.Loop() {
		var traffic received
		r := openOn(b, connect(b, c.endpoints(), traffic.option()), "p")
		before := used()
		ctx, cancel := context.WithCancel(context.Background())
		var watches, first sync.WaitGroup
		for i := range services {
			first.Add(1)
			watches.Go(func() {
				done := sync.OnceFunc(first.Done)
				for range r.Watch(ctx, fmt.Sprintf("svc-%d", i)) {
					done()
				}
			})
		}
		first.Wait()
		before.report(b, services)
		idle(b, &traffic)
		cancel()
		watches.Wait()
	}
}

// BenchmarkRegistrations is a process that keeps 5,000 instances registered, each
// on a lease of its own.
func BenchmarkRegistrations(b *testing.B) {
	const registrations = 5_000
	c := startCluster(b, 1)
	for b.Loop() {
		var traffic received
		r := openOn(b, connect(b, c.endpoints(), traffic.option()), "p")
		before := used()
		var tasks sync.WaitGroup
		var next atomic.Int64
		for range 16 {
			tasks.Go(func() {
				for i := next.Add(1); i <= registrations; i = next.Add(1) {
					if _, err := r.Register(context.Background(), instance(strconv.FormatInt(i, 10))); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		tasks.Wait()
		before.report(b, registrations)
		idle(b, &traffic)
		_ = r.Close()
	}
}

// updates is a grpc ClientConn that tells when it is given something new.
type updates struct {
	grpcresolver.ClientConn

	seen chan int
}

func (u *updates) UpdateState(s grpcresolver.State) error {
	u.seen <- len(s.Endpoints)
	return nil
}

func (*updates) ReportError(error) {}

// BenchmarkRegisterToClientConn is the time from Register until the balancer of a
// client in another process is given the instance, among so many others, and what
// that costs the client's process beside the registering one, which is the same
// here.
func BenchmarkRegisterToClientConn(b *testing.B) {
	for _, n := range sizes {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			c := startCluster(b, 1)
			here := openOn(b, connect(b, c.endpoints()), "p")
			here.putAll(many(n))
			there := openOn(b, connect(b, c.endpoints()), "p")
			cc := &updates{seen: make(chan int, 1)}
			r, err := resolver.NewBuilder(there, resolver.WithLinger(0)).Build(
				grpcresolver.Target{URL: url.URL{Scheme: "micro", Path: "/svc"}}, cc, grpcresolver.BuildOptions{})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			<-cc.seen
			before := used()
			var took time.Duration
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				reg := here.register(instance("zzz"))
				<-cc.seen
				took += time.Since(began)
				if err := reg.Deregister(b.Context()); err != nil {
					b.Fatal(err)
				}
				<-cc.seen
			}
			b.ReportMetric(float64(took.Microseconds())/float64(b.N), "µs-register")
			b.ReportMetric((used().cpu-before.cpu)/float64(2*b.N)*1e6, "cpu-µs-change")
		})
	}
}
