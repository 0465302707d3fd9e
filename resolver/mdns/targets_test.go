package mdns_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// server counts its calls.
type server struct {
	testpb.UnimplementedTestServiceServer

	addr  string
	calls atomic.Int64
}

func (s *server) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	s.calls.Add(1)
	return new(testpb.Empty), nil
}

func serve(t *testing.T) *server {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: lis.Addr().String()}
	g := grpc.NewServer()
	testpb.RegisterTestServiceServer(g, s)
	go func() { _ = g.Serve(lis) }()
	t.Cleanup(g.Stop)
	return s
}

// TestTargets has our balancers on what finds instances without a registry,
// grpc's own resolvers, beside a registry without a server.
func TestTargets(t *testing.T) {
	t.Parallel()
	servers := []*server{serve(t), serve(t), serve(t)}
	addrs := make([]grpcresolver.Address, len(servers))
	endpoints := make([]grpcresolver.Endpoint, len(servers))
	at := domain()
	for i, s := range servers {
		addrs[i] = grpcresolver.Address{Addr: s.addr}
		endpoints[i] = grpcresolver.Endpoint{Addresses: addrs[i : i+1]}
		inst := instance(s.addr[len("127.0.0.1:"):])
		inst.Addrs[0] = s.addr
		register(t, open(t, at), inst)
	}
	static := func(s grpcresolver.State) grpc.DialOption {
		r := manual.NewBuilderWithScheme("static")
		r.InitialState(s)
		return grpc.WithResolvers(r)
	}
	_, port, err := net.SplitHostPort(servers[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []string{balancer.RoundRobin, balancer.Random, balancer.LeastRequest} {
		for name, test := range map[string]struct {
			target string
			opt    grpc.DialOption
			want   int // servers that are called
		}{
			"dns":            {"dns:///localhost:" + port, grpc.EmptyDialOption{}, 1},
			"dns, no scheme": {"localhost:" + port, grpc.EmptyDialOption{}, 1},
			"dns, an IP":     {"dns:///" + servers[0].addr, grpc.EmptyDialOption{}, 1},
			"passthrough":    {"passthrough:///" + servers[0].addr, grpc.EmptyDialOption{}, 1},
			"addresses":      {"static:///svc", static(grpcresolver.State{Addresses: addrs}), 3},
			"endpoints":      {"static:///svc", static(grpcresolver.State{Endpoints: endpoints}), 3},
			"mdns":           {"micro:///svc", grpc.WithResolvers(resolver.NewBuilder(open(t, at))), 3},
		} {
			t.Run(policy+"/"+name, func(t *testing.T) {
				conn, err := grpc.NewClient(test.target, test.opt, grpc.WithNoProxy(),
					grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"`+policy+`":{}}]}`))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				before := make([]int64, len(servers))
				for i, s := range servers {
					before[i] = s.calls.Load()
				}
				client := testpb.NewTestServiceClient(conn)
				wait.Until(t, "a call to each server", func() bool {
					if _, err := client.EmptyCall(deadline(t), new(testpb.Empty), grpc.WaitForReady(true)); err != nil {
						t.Fatal(err)
					}
					called := 0
					for i, s := range servers {
						if s.calls.Load() > before[i] {
							called++
						}
					}
					if called > test.want {
						t.Fatalf("%d servers are called, want %d", called, test.want)
					}
					return called == test.want
				})
			})
		}
	}
}
