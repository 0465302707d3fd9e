// Micro is this framework, found through etcd. Its modes: bare, with the chain
// of interceptors, and with that and micro.TuneRuntime.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/interceptors"
	"github.com/grpc-micro/micro/resolver"
	_ "github.com/grpc-micro/micro/resolver/etcd"
	"google.golang.org/grpc"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Serve: serve, Dial: dial}.Main() }

// mode is what a row has beside the defaults.
type mode struct {
	server []grpc.ServerOption
	client []grpc.DialOption
}

func modeOf(name string) (mode, error) {
	switch name {
	case "":
		return mode{}, nil
	case "chain":
		return mode{interceptors.Server(), interceptors.Client()}, nil
	case "tuned":
		micro.TuneRuntime()
		return modeOf("chain")
	case "subset":
		return mode{client: []grpc.DialOption{grpc.WithDefaultServiceConfig(subsetConfig)}}, nil
	}
	if m, ok := settings[name]; ok {
		return m, nil
	}
	return mode{}, fmt.Errorf("there is no mode %q", name)
}

func serve(ctx context.Context, c peer.Config, echo peer.Echo, ready func(string)) error {
	m, err := modeOf(c.Mode)
	if err != nil {
		return err
	}
	registry, err := resolver.Open(c.Registry)
	if err != nil {
		return err
	}
	if c.MaxMessage > 0 {
		m.server = append(m.server, grpc.MaxRecvMsgSize(c.MaxMessage))
	}
	opts := []micro.Option{
		micro.WithAddress(c.ServerAddress()),
		micro.WithRegistry(registry),
		micro.WithDrainDelay(0),
		micro.WithLogger(slog.New(slog.DiscardHandler)),
		micro.WithServerOptions(m.server...),
	}
	if c.TCP {
		opts = append(opts, micro.WithLocalSocket(false))
	}
	if c.Instances > 0 {
		opts = append(opts, micro.WithAdvertise("127.0.0.1"))
	}
	svc := micro.New(c.Service, opts...)
	pb.RegisterBenchmarkServiceServer(svc, echo)
	go func() {
		<-svc.Ready()
		ready(peer.Reached(svc.Addr()))
	}()
	return errors.Join(svc.Run(ctx), registry.Close())
}

func dial(_ context.Context, c peer.Config) (peer.Client, error) {
	m, err := modeOf(c.Mode)
	if err != nil {
		return nil, err
	}
	registry, err := resolver.Open(c.Registry)
	if err != nil {
		return nil, err
	}
	opts := slices.Concat(m.client, []grpc.DialOption{micro.Insecure()})
	if c.MaxMessage > 0 {
		opts = append(opts, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.MaxMessage)))
	}
	captured := captureIn(c)
	cc, err := micro.NewClient(c.Service, registry, opts...)
	if err != nil {
		return nil, err
	}
	if captured != nil {
		return &fleet{peer.Stub(cc), captured, cc}, nil
	}
	return peer.Stub(cc), nil
}
