// Raw is grpc-go as people get it from grpc.NewServer and grpc.NewClient. In the
// mode "health", clients of a fleet check the health of each instance.
package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	pb "google.golang.org/grpc/interop/grpc_testing"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Serve: serve, Dial: dial}.Main() }

const healthMode = "health"

func serve(ctx context.Context, c peer.Config, echo peer.Echo, ready func(string)) error {
	lis, err := new(net.ListenConfig).Listen(ctx, "tcp", c.ServerAddress())
	if err != nil {
		return err
	}
	var opts []grpc.ServerOption
	if c.MaxMessage > 0 {
		opts = append(opts, grpc.MaxRecvMsgSize(c.MaxMessage))
	}
	srv := grpc.NewServer(opts...)
	pb.RegisterBenchmarkServiceServer(srv, echo)
	if c.Mode == healthMode {
		grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	}
	context.AfterFunc(ctx, srv.Stop)
	ready(peer.Reached(lis.Addr()))
	return srv.Serve(lis)
}

// dial spreads calls by round_robin when there are several servers.
func dial(_ context.Context, c peer.Config) (peer.Client, error) {
	opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if c.MaxMessage > 0 {
		opts = append(opts, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.MaxMessage)))
	}
	if c.Instances > 0 {
		return dialFleet(c, opts)
	}
	target := c.Addrs[0]
	if len(c.Addrs) > 1 {
		r := manual.NewBuilderWithScheme("bench")
		var state grpcresolver.State
		for _, addr := range c.Addrs {
			state.Endpoints = append(state.Endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{{Addr: addr}}})
		}
		r.InitialState(state)
		target = "bench:///all"
		opts = append(opts, grpc.WithResolvers(r), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	}
	cc, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, err
	}
	return peer.Stub(cc), nil
}
