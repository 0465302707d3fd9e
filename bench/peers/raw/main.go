// Raw is grpc-go as people get it from grpc.NewServer and grpc.NewClient.
package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Serve: serve, Dial: dial}.Main() }

func serve(ctx context.Context, _ peer.Config, echo peer.Echo, ready func(string)) error {
	lis, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := grpc.NewServer()
	pb.RegisterBenchmarkServiceServer(srv, echo)
	context.AfterFunc(ctx, srv.Stop)
	ready(lis.Addr().String())
	return srv.Serve(lis)
}

// dial spreads calls by round_robin when there are several servers.
func dial(_ context.Context, c peer.Config) (peer.Client, error) {
	opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
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
