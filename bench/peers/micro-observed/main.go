// Micro-observed is this framework with the chain of interceptors, metrics for
// Prometheus, and traces that are never sampled. It is a program of its own, for
// what it links gives the collector more to mark.
package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/interceptors"
	"github.com/grpc-micro/micro/interceptors/rpcmetrics"
	"github.com/grpc-micro/micro/interceptors/tracing"
	"github.com/grpc-micro/micro/resolver"
	_ "github.com/grpc-micro/micro/resolver/etcd"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Serve: serve, Dial: dial}.Main() }

func traces() []tracing.Option {
	return []tracing.Option{
		tracing.WithTracerProvider(trace.NewTracerProvider(trace.WithSampler(trace.ParentBased(trace.NeverSample())))),
		tracing.WithPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})),
	}
}

func serverOptions() []grpc.ServerOption {
	t, calls := traces(), rpcmetrics.NewServer()
	prometheus.MustRegister(calls)
	return interceptors.Server(
		interceptors.WithServer(tracing.UnaryServerInterceptor(t...), tracing.StreamServerInterceptor(t...)),
		interceptors.WithServer(calls.UnaryServerInterceptor(), calls.StreamServerInterceptor()))
}

func clientOptions() []grpc.DialOption {
	t, calls := traces(), rpcmetrics.NewClient()
	prometheus.MustRegister(calls)
	return append(interceptors.Client(
		interceptors.WithClient(tracing.UnaryClientInterceptor(t...), tracing.StreamClientInterceptor(t...)),
		interceptors.WithClient(calls.UnaryClientInterceptor(), calls.StreamClientInterceptor())), micro.Insecure())
}

func serve(ctx context.Context, c peer.Config, echo peer.Echo, ready func(string)) error {
	registry, err := resolver.Open(c.Registry)
	if err != nil {
		return err
	}
	svc := micro.New(c.Service,
		micro.WithAddress("127.0.0.1:0"),
		micro.WithRegistry(registry),
		micro.WithDrainDelay(0),
		micro.WithLogger(slog.New(slog.DiscardHandler)),
		micro.WithServerOptions(serverOptions()...))
	pb.RegisterBenchmarkServiceServer(svc, echo)
	go func() {
		<-svc.Ready()
		ready(svc.Addr().String())
	}()
	return errors.Join(svc.Run(ctx), registry.Close())
}

func dial(_ context.Context, c peer.Config) (peer.Client, error) {
	registry, err := resolver.Open(c.Registry)
	if err != nil {
		return nil, err
	}
	cc, err := micro.NewClient(c.Service, registry, clientOptions()...)
	if err != nil {
		return nil, err
	}
	return peer.Stub(cc), nil
}
