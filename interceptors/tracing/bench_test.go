package tracing_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/tracing"
)

// incoming is the context of a call as a server has it, in a trace that is not
// sampled.
func incoming(ctx context.Context) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs(
		":authority", "localhost", "content-type", "application/grpc", "user-agent", "grpc-go/1",
		"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"))
}

func handle(context.Context, any) (any, error) { return nil, nil }

func invoke(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}

func BenchmarkUnsampled(b *testing.B) {
	provider, _ := recorder(sdktrace.NeverSample())
	b.Run("server", func(b *testing.B) {
		serve, info, ctx := tracing.UnaryServerInterceptor(options(provider)...), &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, incoming(b.Context())
		b.ReportAllocs()
		for b.Loop() {
			_, _ = serve(ctx, nil, info, handle)
		}
	})
	b.Run("client", func(b *testing.B) {
		call, ctx := tracing.UnaryClientInterceptor(options(provider)...), b.Context()
		b.ReportAllocs()
		for b.Loop() {
			_ = call(ctx, "/a.B/C", nil, nil, nil, invoke)
		}
	})
}

func BenchmarkCall(b *testing.B) {
	provider, _ := recorder(sdktrace.NeverSample())
	rpctest.Benchmark(b, server(options(provider)), client(options(provider)))
}

func BenchmarkCallOtelgrpc(b *testing.B) {
	provider, _ := recorder(sdktrace.NeverSample())
	rpctest.Benchmark(b,
		[]grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(provider), otelgrpc.WithPropagators(propagator)))},
		[]grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(provider), otelgrpc.WithPropagators(propagator)))})
}
