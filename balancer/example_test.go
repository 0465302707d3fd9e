package balancer_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/resolver"
)

// greeter is a server that says which version it is.
type greeter struct {
	testpb.UnimplementedTestServiceServer

	version string
}

func (g greeter) UnaryCall(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Username: g.version}, nil
}

// greeters starts two servers, registers them as versions 1.0.0 and 1.1.0, the
// second in lane "beta", and connects to them.
func greeters(config string) (client testpb.TestServiceClient, conn *grpc.ClientConn, stop func()) {
	reg := resolver.NewMemory()
	var stops []func()
	for _, inst := range []*resolver.Instance{
		{ID: "one", Service: "greeter", Version: "1.0.0"},
		{ID: "two", Service: "greeter", Version: "1.1.0", Labels: map[string]string{"lane": "beta"}},
	} {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		srv := grpc.NewServer()
		testpb.RegisterTestServiceServer(srv, greeter{version: inst.Version})
		go func() { _ = srv.Serve(lis) }()
		stops = append(stops, srv.Stop)
		inst.Addrs = []string{lis.Addr().String()}
		if _, err := reg.Register(context.Background(), inst); err != nil {
			log.Fatal(err)
		}
	}
	conn, err := grpc.NewClient("micro:///greeter", grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithLinger(0))),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(config))
	if err != nil {
		log.Fatal(err)
	}
	return testpb.NewTestServiceClient(conn), conn, func() {
		_ = conn.Close()
		for _, stop := range stops {
			stop()
		}
		_ = reg.Close()
	}
}

func Example() {
	client, _, stop := greeters(`{"loadBalancingConfig":[{"micro_p2c_ewma":{"ejection":{}}}]}`)
	defer stop()

	newer, err := balancer.VersionRange("^1.1")
	if err != nil {
		log.Fatal(err)
	}
	ctx := balancer.WithFilter(context.Background(), newer)
	reply, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
	fmt.Println(reply.GetUsername(), err)
	// Output:
	// 1.1.0 <nil>
}

func ExampleWithTiers() {
	client, _, stop := greeters(`{"loadBalancingConfig":[{"micro_round_robin":{}}]}`)
	defer stop()

	stable := balancer.Not(balancer.HasLabel("lane"))
	for _, lane := range []string{"beta", "gamma"} {
		ctx := balancer.WithTiers(context.Background(), balancer.Label("lane", lane), stable)
		reply, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		fmt.Println(lane, reply.GetUsername(), err)
	}
	// Output:
	// beta 1.1.0 <nil>
	// gamma 1.0.0 <nil>
}

func ExampleExplain() {
	_, conn, stop := greeters(`{"loadBalancingConfig":[{"micro_round_robin":{"filter":{"versionRange":"<1.1"}}}]}`)
	defer stop()

	if err := balancer.WaitReady(context.Background(), conn, 1); err != nil {
		log.Fatal(err)
	}
	why, err := balancer.Explain(context.Background(), conn, "/grpc.testing.TestService/UnaryCall")
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range why.Instances {
		fmt.Printf("%s: %q\n", c.Instance.ID, c.Dropped)
	}
	// Output:
	// one: ""
	// two: "not version <1.1.0"
}
