package balancer_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/test/bufconn"

	_ "github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a real one on loopback, which counts its calls and connections.
type server struct {
	testpb.UnimplementedTestServiceServer

	*grpc.Server

	addr   string
	memory *bufconn.Listener // if it has no address of the network
	calls  atomic.Int64
	conns  atomic.Int64
	peers  sync.Map              // addresses that called
	hold   func(context.Context) // what a call does
}

func newServer(t testing.TB) *server {
	t.Helper()
	return serve(t, "127.0.0.1:0")
}

func serve(t testing.TB, addr string) *server {
	t.Helper()
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, lis)
}

func serveOn(t testing.TB, lis net.Listener) *server {
	t.Helper()
	s := &server{addr: lis.Addr().String()}
	s.Server = grpc.NewServer(grpc.StatsHandler(s))
	testpb.RegisterTestServiceServer(s.Server, s)
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(s.Stop)
	return s
}

func (s *server) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	s.calls.Add(1)
	if p, ok := peer.FromContext(ctx); ok {
		s.peers.Store(p.Addr.String(), true)
	}
	if s.hold != nil {
		s.hold(ctx)
	}
	return &testpb.Empty{}, nil
}

// HalfDuplexCall lives as long as the client sends.
func (s *server) HalfDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return nil //nolint:nilerr // the end
		}
	}
}

// used counts the connections that calls came over.
func (s *server) used() int {
	n := 0
	s.peers.Range(func(any, any) bool { n++; return true })
	return n
}

func (s *server) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (s *server) HandleRPC(context.Context, stats.RPCStats)                         {}
func (s *server) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (s *server) HandleConn(_ context.Context, c stats.ConnStats) {
	if _, ok := c.(*stats.ConnBegin); ok {
		s.conns.Add(1)
	}
}

// instance describes a server to the registry.
func (s *server) instance(id string, change ...func(*resolver.Instance)) *resolver.Instance {
	inst := &resolver.Instance{ID: id, Service: "svc", Addrs: []string{s.addr}}
	for _, c := range change {
		c(inst)
	}
	return inst
}

func version(v string) func(*resolver.Instance) { return func(i *resolver.Instance) { i.Version = v } }
func zone(z string) func(*resolver.Instance)    { return func(i *resolver.Instance) { i.Zone = z } }
func label(key, value string) func(*resolver.Instance) {
	return func(i *resolver.Instance) { i.Labels = map[string]string{key: value} }
}
func draining(i *resolver.Instance) { i.Draining = true }

// channel is a client whose resolver the test holds in its hand.
type channel struct {
	testpb.TestServiceClient

	conn *grpc.ClientConn
	r    *manual.Resolver
}

func dial(t testing.TB, policy string, insts ...*resolver.Instance) *channel {
	t.Helper()
	return dialWith(t, policy, nil, insts...)
}

func dialWith(t testing.TB, policy string, opts []grpc.DialOption, insts ...*resolver.Instance) *channel {
	t.Helper()
	r := manual.NewBuilderWithScheme("test")
	r.InitialState(state(insts))
	conn, err := grpc.NewClient("test:///svc", append(opts, grpc.WithResolvers(r),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[`+policy+`]}`))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &channel{testpb.NewTestServiceClient(conn), conn, r}
}

func state(insts []*resolver.Instance) grpcresolver.State {
	s := grpcresolver.State{Endpoints: []grpcresolver.Endpoint{}}
	for _, inst := range insts {
		s.Endpoints = append(s.Endpoints, resolver.EndpointOf(inst))
	}
	return s
}

func (c *channel) update(insts ...*resolver.Instance) { c.r.UpdateState(state(insts)) }

func (c *channel) call(ctx context.Context, opts ...grpc.CallOption) error {
	_, err := c.EmptyCall(ctx, &testpb.Empty{}, opts...)
	return err
}

// warm calls until every server has been called, and then forgets the calls.
func (c *channel) warm(t testing.TB, servers ...*server) {
	t.Helper()
	wait.Until(t, "every server to be connected", func() bool {
		if err := c.call(deadline(t), grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
		for _, s := range servers {
			if s.calls.Load() == 0 {
				return false
			}
		}
		return true
	})
	for _, s := range servers {
		s.calls.Store(0)
	}
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait.Patience)
	t.Cleanup(cancel)
	return ctx
}

// parallel runs f so many times at once, and waits.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
