package interceptors_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors"
	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/rpcmetrics"
	"github.com/grpc-micro/micro/interceptors/tracing"
)

func Example() {
	logger := interceptors.WithLogger(slog.New(slog.DiscardHandler))
	server := interceptors.Server(logger)                                        // for grpc.NewServer or micro.WithServerOptions
	client := interceptors.Client(logger, interceptors.WithTimeout(time.Second)) // for grpc.NewClient or micro.NewClient

	handler := func(ctx context.Context) error {
		_, bounded := ctx.Deadline()
		fmt.Println("the handler has a deadline:", bounded)
		panic("and a bug")
	}
	c, stop := rpctest.Serve(handler, server, client)
	defer stop()
	_, err := c.UnaryCall(context.Background(), &testpb.SimpleRequest{})
	fmt.Println(err)
	// Output:
	// the handler has a deadline: true
	// rpc error: code = Internal desc = the handler of /grpc.testing.TestService/UnaryCall panicked; the server's log says where
}

// Traces outermost, then metrics, then the chain: a call that panics is an error
// in all of them.
func ExampleWithServer() {
	spans := tracetest.NewInMemoryExporter() // in production otlptracegrpc's, WithBatcher
	traces := []tracing.Option{
		tracing.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))),
		tracing.WithPropagator(propagation.TraceContext{}),
	}
	calls := rpcmetrics.NewServer()
	prometheus.NewRegistry().MustRegister(calls) // in production prometheus.MustRegister

	server := interceptors.Server(
		interceptors.WithServer(tracing.UnaryServerInterceptor(traces...), tracing.StreamServerInterceptor(traces...)),
		interceptors.WithServer(calls.UnaryServerInterceptor(), calls.StreamServerInterceptor()),
		interceptors.WithLogger(slog.New(slog.DiscardHandler)))

	c, stop := rpctest.Serve(func(context.Context) error { panic("a bug") }, server, nil)
	_, err := c.UnaryCall(context.Background(), &testpb.SimpleRequest{})
	fmt.Println(status.Code(err))
	stop()
	fmt.Println(spans.GetSpans()[0].Name, spans.GetSpans()[0].Status.Code)
	fmt.Println(testutil.CollectAndCount(calls, "grpc_server_handled_total"), "code has calls")
	// Output:
	// Internal
	// grpc.testing.TestService/UnaryCall Error
	// 1 code has calls
}
