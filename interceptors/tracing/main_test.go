package tracing_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/interceptors/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// recorder returns a provider of OpenTelemetry's SDK, and what it recorded.
func recorder(sampler sdktrace.Sampler) (trace.TracerProvider, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sampler)), sdktrace.WithSpanProcessor(spans)), spans
}

func options(provider trace.TracerProvider, more ...tracing.Option) []tracing.Option {
	return append([]tracing.Option{tracing.WithTracerProvider(provider), tracing.WithPropagator(propagator), nil}, more...)
}

func server(opts []tracing.Option) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(tracing.UnaryServerInterceptor(opts...)),
		grpc.ChainStreamInterceptor(tracing.StreamServerInterceptor(opts...)),
	}
}

func client(opts []tracing.Option) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(tracing.UnaryClientInterceptor(opts...)),
		grpc.WithChainStreamInterceptor(tracing.StreamClientInterceptor(opts...)),
	}
}

// ended returns the span of a kind, and fails without exactly one.
func ended(t *testing.T, spans *tracetest.SpanRecorder, kind trace.SpanKind) sdktrace.ReadOnlySpan {
	t.Helper()
	var found []sdktrace.ReadOnlySpan
	for _, s := range spans.Ended() {
		if s.SpanKind() == kind {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans of a %v, want 1", len(found), kind)
	}
	return found[0]
}

func attributesOf(s sdktrace.ReadOnlySpan) map[attribute.Key]attribute.Value {
	out := make(map[attribute.Key]attribute.Value)
	for _, a := range s.Attributes() {
		out[a.Key] = a.Value
	}
	return out
}

// spanOf is the context of the span that ctx is in.
func spanOf(ctx context.Context) trace.SpanContext { return trace.SpanContextFromContext(ctx) }
