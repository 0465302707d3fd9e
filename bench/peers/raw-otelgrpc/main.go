// Raw-otelgrpc is grpc-go with OpenTelemetry's own instrumentation: traces that
// are never sampled, and no metrics.
package main

import (
	"context"
	"net"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Serve: serve, Dial: dial}.Main() }

func traces() []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithTracerProvider(trace.NewTracerProvider(trace.WithSampler(trace.ParentBased(trace.NeverSample())))),
		otelgrpc.WithPropagators(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})),
	}
}

func serve(ctx context.Context, _ peer.Config, echo peer.Echo, ready func(string)) error {
	lis, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler(traces()...)))
	pb.RegisterBenchmarkServiceServer(srv, echo)
	context.AfterFunc(ctx, srv.Stop)
	ready(lis.Addr().String())
	return srv.Serve(lis)
}

func dial(_ context.Context, c peer.Config) (peer.Client, error) {
	cc, err := grpc.NewClient(c.Addrs[0],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(traces()...)))
	if err != nil {
		return nil, err
	}
	return peer.Stub(cc), nil
}
