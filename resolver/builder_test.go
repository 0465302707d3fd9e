package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// server runs a grpc server on loopback until the test ends.
func server(t testing.TB) (addr string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, lis)
	return lis.Addr().String()
}

func serve(t testing.TB, lis net.Listener) {
	t.Helper()
	s := grpc.NewServer()
	testpb.RegisterTestServiceServer(s, echoServer{})
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(s.Stop)
}

type echoServer struct {
	testpb.UnimplementedTestServiceServer
}

func (echoServer) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, nil
}

func dial(t testing.TB, target string, d resolver.Discovery, opts ...resolver.BuilderOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target,
		grpc.WithResolvers(resolver.NewBuilder(d, append([]resolver.BuilderOption{resolver.WithLogger(quiet)}, opts...)...)),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// call returns the address that answered.
func call(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) (string, error) {
	var from peer.Peer
	_, err := testpb.NewTestServiceClient(conn).EmptyCall(ctx, &testpb.Empty{}, append(opts, grpc.Peer(&from))...)
	if err != nil {
		return "", err
	}
	return from.Addr.String(), nil
}

func register(t testing.TB, r resolver.Registrar, insts ...*resolver.Instance) resolver.Registration {
	t.Helper()
	reg, err := r.Register(deadline(t), insts...)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func instance(id, addr string) *resolver.Instance {
	return &resolver.Instance{ID: id, Service: "svc", Addrs: []string{addr}}
}

// With grpc's own round_robin: found, joined by another, left by the first, and
// in the end gone, when calls fail at once and say why.
func TestInstancesComeAndGo(t *testing.T) {
	t.Parallel()
	m := memory(t)
	ctx, conn := deadline(t), dial(t, "micro:///svc", m)
	if _, err := call(ctx, conn); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no instances of svc") {
		t.Fatalf("without an instance: %v", err)
	}
	a, b := server(t), server(t)
	regA := register(t, m, instance("a", a))
	if got, err := call(ctx, conn, grpc.WaitForReady(true)); err != nil || got != a {
		t.Fatalf("%s, %v, want %s", got, err, a)
	}
	regB := register(t, m, instance("b", b))
	wait.Until(t, "calls to b", func() bool { got, err := call(ctx, conn); return err == nil && got == b })
	if err := regA.Deregister(ctx); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "no call to a", func() bool {
		for range 4 {
			if got, err := call(ctx, conn); err != nil || got == a {
				return false
			}
		}
		return true
	})
	if err := regB.Deregister(ctx); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "calls to fail at once", func() bool { // in the words of round_robin: "no children to pick from"
		_, err := call(ctx, conn)
		return status.Code(err) == codes.Unavailable
	})
	register(t, m, instance("c", server(t)))
	if _, err := call(ctx, conn, grpc.WaitForReady(true)); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

// pick_first is what grpc uses when nobody chooses.
func TestPickFirst(t *testing.T) {
	t.Parallel()
	m := memory(t)
	conn, err := grpc.NewClient("micro:///svc", grpc.WithResolvers(resolver.NewBuilder(m)),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		addr := server(t)
		reg := register(t, m, instance("a", addr))
		if got, err := call(deadline(t), conn, grpc.WaitForReady(true)); err != nil || got != addr {
			t.Fatalf("%s, %v, want %s", got, err, addr)
		}
		if err := reg.Deregister(deadline(t)); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, "calls to fail with the reason", func() bool {
			_, err := call(deadline(t), conn)
			return status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "no instances of svc")
		})
	}
}

// Instances are reached by unix sockets, too, and by their second address when
// the first does not answer.
func TestAddresses(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, lis)
	tcp := server(t)
	for want, addrs := range map[string][]string{
		socket: {"unix://" + socket},
		tcp:    {"unix:///nowhere", tcp},
	} {
		m := memory(t)
		inst := instance("a", "")
		inst.Addrs = addrs
		register(t, m, inst)
		if got, err := call(deadline(t), dial(t, "micro:///svc", m)); err != nil || got != want {
			t.Errorf("%v: %s, %v, want %s", addrs, got, err, want)
		}
	}
}

func TestBadTargets(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"micro:///":          "service name is empty",
		"micro:///a%20b":     `"a b"`,
		"micro://host/svc":   "names a host",
		"micro:///svc/more":  `'/'`,
		"micro:///svc?tls=1": "has parameters",
	} {
		conn := dial(t, target, memory(t))
		if _, err := call(deadline(t), conn); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", target, err, want)
		}
	}
	conn := dial(t, "micro:///svc", nil)
	if _, err := call(deadline(t), conn); err == nil || !strings.Contains(err.Error(), "no Discovery") {
		t.Errorf("nil Discovery: %v", err)
	}
}

// counted counts the watches under way, and fails on demand.
type counted struct {
	*resolver.Memory

	ranges, open atomic.Int32
	broken       atomic.Bool
}

func (c *counted) Watch(ctx context.Context, service string) iter.Seq2[[]*resolver.Instance, error] {
	return func(yield func([]*resolver.Instance, error) bool) {
		c.ranges.Add(1)
		c.open.Add(1)
		defer c.open.Add(-1)
		for insts, err := range c.Memory.Watch(ctx, service) {
			if c.broken.Load() {
				yield(nil, errors.New("the registry is away"))
				return
			}
			if !yield(insts, err) {
				return
			}
		}
	}
}

func TestConnsShareOneWatchThatLingers(t *testing.T) {
	t.Parallel()
	c := &counted{Memory: memory(t)}
	addr := server(t)
	register(t, c, instance("a", addr))
	first, second := dial(t, "micro:///svc", c), dial(t, "micro:///svc", c)
	for _, conn := range []*grpc.ClientConn{first, second} {
		if _, err := call(deadline(t), conn, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	third := dial(t, "micro:///svc", c) // all have closed, and it is still there
	if _, err := call(deadline(t), third); err != nil {
		t.Errorf("fail-fast call on a lingering watch: %v", err)
	}
	if n := c.ranges.Load(); n != 1 {
		t.Errorf("%d watches for three connections, want 1", n)
	}
}

func TestWatchEndsAfterItsLinger(t *testing.T) {
	t.Parallel()
	c := &counted{Memory: memory(t)}
	register(t, c, instance("a", server(t)))
	conn := dial(t, "micro:///svc", c, resolver.WithLinger(time.Millisecond))
	if _, err := call(deadline(t), conn, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	wait.Until(t, "the watch to end", func() bool { return c.open.Load() == 0 })
}

func TestOutageKeepsWhatWasKnown(t *testing.T) {
	t.Parallel()
	c := &counted{Memory: memory(t)}
	register(t, c, instance("a", server(t)))
	conn := dial(t, "micro:///svc", c)
	if _, err := call(deadline(t), conn, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	c.broken.Store(true)
	b := server(t)
	register(t, c, instance("b", b)) // wakes the watch, which then fails
	wait.Until(t, "another attempt", func() bool { return c.ranges.Load() > 2 })
	for range 10 {
		if _, err := call(deadline(t), conn); err != nil {
			t.Fatalf("during the outage: %v", err)
		}
	}
	c.broken.Store(false)
	wait.Until(t, "b after the outage", func() bool { got, err := call(deadline(t), conn); return err == nil && got == b })
}

func TestRegistryAwayFromTheStart(t *testing.T) {
	t.Parallel()
	c := &counted{Memory: memory(t)}
	c.broken.Store(true)
	conn := dial(t, "micro:///svc", c, resolver.WithLinger(0))
	if _, err := call(deadline(t), conn); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the registry is away") {
		t.Errorf("%v, want the registry's error", err)
	}
}

// A channel that goes idle closes its resolver, and builds it again for the
// next call.
func TestIdleChannelComesBack(t *testing.T) {
	t.Parallel()
	m := memory(t)
	register(t, m, instance("a", server(t)))
	conn, err := grpc.NewClient("micro:///svc", grpc.WithResolvers(resolver.NewBuilder(m)),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		if _, err := call(deadline(t), conn); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, "idleness", func() bool { return conn.GetState() == connectivity.Idle })
	}
}

// BenchmarkChangeAmongMany is what one ClientConn's share of one change costs.
func BenchmarkChangeAmongMany(b *testing.B) {
	for _, n := range []int{3, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := memory(b)
			var regs []resolver.Registration
			for i := range n {
				regs = append(regs, register(b, m, instance(fmt.Sprintf("%05d", i), "10.0.0.1:80")))
			}
			cc := &fakeConn{updates: make(chan int)}
			r := cc.build(b, m)
			defer r.Close()
			<-cc.updates
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				inst := instance(fmt.Sprintf("%05d", i%n), "10.0.0.1:80")
				inst.Weight = uint32(i + 2)
				if err := regs[i%n].Update(b.Context(), inst); err != nil {
					b.Fatal(err)
				}
				<-cc.updates
			}
		})
	}
}
