package tracing_test

import (
	"context"
	"fmt"
	"log"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/interceptors"
	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/tracing"
	"github.com/grpc-micro/micro/pubsub"
)

func Example() {
	exporter := tracetest.NewInMemoryExporter() // in production otlptracegrpc's
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSyncer(exporter), // in production WithBatcher
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(1))))
	traces := []tracing.Option{
		tracing.WithTracerProvider(provider),
		tracing.WithPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})),
	}
	server := interceptors.Server(interceptors.WithServer(tracing.UnaryServerInterceptor(traces...), tracing.StreamServerInterceptor(traces...)))
	client := interceptors.Client(interceptors.WithClient(tracing.UnaryClientInterceptor(traces...), tracing.StreamClientInterceptor(traces...)))

	c, stop := rpctest.Serve(func(context.Context) error { return nil }, server, client)
	if _, err := c.UnaryCall(context.Background(), &testpb.SimpleRequest{}); err != nil {
		log.Fatal(err)
	}
	stop()

	for _, span := range exporter.GetSpans() { // the server's ends first
		fmt.Println(span.SpanKind, span.Name)
	}
	// Output:
	// server grpc.testing.TestService/UnaryCall
	// client grpc.testing.TestService/UnaryCall
}

func ExamplePublisher() {
	ctx, cancel := context.WithCancel(context.Background())
	broker := pubsub.NewMemory()
	traces := []tracing.Option{
		tracing.WithTracerProvider(sdktrace.NewTracerProvider()),
		tracing.WithPropagator(propagation.TraceContext{}),
	}
	ready, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- broker.Subscribe(ctx, "orders.placed", "billing", func(_ context.Context, d *pubsub.Delivery) error {
			fmt.Println("in a trace:", d.Header.Get("traceparent") != nil)
			cancel()
			return nil
		}, pubsub.WithMiddleware(tracing.Middleware(traces...)), pubsub.WithReady(func() { close(ready) }))
	}()
	<-ready
	publisher := tracing.Publisher(broker, traces...)
	if err := publisher.Publish(ctx, &pubsub.Message{Topic: "orders.placed"}); err != nil {
		log.Println(err)
	}
	fmt.Println(<-ended, broker.Close(context.Background()))
	// Output:
	// in a trace: true
	// <nil> <nil>
}
