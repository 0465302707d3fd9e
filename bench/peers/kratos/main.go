// Kratos is go-kratos with its grpc transport at its defaults.
package main

import (
	"context"

	"github.com/go-kratos/kratos/v2/transport/grpc"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Serve: serve, Dial: dial}.Main() }

func serve(ctx context.Context, _ peer.Config, echo peer.Echo, ready func(string)) error {
	srv := grpc.NewServer(grpc.Address("127.0.0.1:0"))
	pb.RegisterBenchmarkServiceServer(srv, echo)
	url, err := srv.Endpoint() // listens
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, srv.Server.Stop)
	ready(url.Host)
	return srv.Start(ctx)
}

func dial(ctx context.Context, c peer.Config) (peer.Client, error) {
	cc, err := grpc.DialInsecure(ctx, grpc.WithEndpoint(c.Addrs[0]))
	if err != nil {
		return nil, err
	}
	return peer.Stub(cc), nil
}
