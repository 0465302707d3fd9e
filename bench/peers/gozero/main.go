// Gozero is go-zero's zrpc at its defaults, but for two things: its log is off,
// which would stand between the replies, and so is its load shedding, by which
// it refuses calls on a processor that is as busy as a benchmark makes it.
package main

import (
	"context"
	"net"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() {
	logx.Disable()
	peer.Peer{Serve: serve, Dial: dial}.Main()
}

func serve(ctx context.Context, _ peer.Config, echo peer.Echo, ready func(string)) error {
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}
	var c zrpc.RpcServerConf
	if err := conf.FillDefault(&c); err != nil {
		return err
	}
	c.ListenOn, c.CpuThreshold = addr, 0
	srv, err := zrpc.NewServer(c, func(s *grpc.Server) { pb.RegisterBenchmarkServiceServer(s, echo) })
	if err != nil {
		return err
	}
	logx.Disable() // NewServer switched it on
	context.AfterFunc(ctx, srv.Stop)
	ready(addr) // its client waits until it listens
	srv.Start()
	return nil
}

// freeAddr is needed because zrpc does not say which port it chose.
func freeAddr(ctx context.Context) (string, error) {
	lis, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return lis.Addr().String(), lis.Close()
}

func dial(_ context.Context, c peer.Config) (peer.Client, error) {
	var config zrpc.RpcClientConf
	if err := conf.FillDefault(&config); err != nil {
		return nil, err
	}
	config.Endpoints = c.Addrs
	client, err := zrpc.NewClient(config)
	if err != nil {
		return nil, err
	}
	return peer.Stub(client.Conn()), nil
}
