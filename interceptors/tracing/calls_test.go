package tracing_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/recovery"
	"github.com/grpc-micro/micro/interceptors/tracing"
	"github.com/grpc-micro/micro/internal/wait"
)

// side is a way to trace one side of a call.
type side struct {
	name   string
	server func(trace.TracerProvider) []grpc.ServerOption
	client func(trace.TracerProvider) []grpc.DialOption
}

var sides = []side{
	{
		"this",
		func(p trace.TracerProvider) []grpc.ServerOption { return server(options(p)) },
		func(p trace.TracerProvider) []grpc.DialOption { return client(options(p)) },
	},
	{
		"otelgrpc",
		func(p trace.TracerProvider) []grpc.ServerOption {
			return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(p), otelgrpc.WithPropagators(propagator)))}
		},
		func(p trace.TracerProvider) []grpc.DialOption {
			return []grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(p), otelgrpc.WithPropagators(propagator)))}
		},
	},
}

// call makes a call of the kind below a span of its own, with baggage and trace
// state. It returns that span, what the handler saw, and what was recorded.
func call(t *testing.T, kind rpctest.Kind, client, server side, sampler sdktrace.Sampler, answer error) (root, handler trace.SpanContext, spans []sdktrace.ReadOnlySpan) {
	t.Helper()
	provider, recorded := recorder(sampler)
	var bag string
	stub, stop := rpctest.Serve(func(ctx context.Context) error {
		handler, bag = spanOf(ctx), baggage.FromContext(ctx).Member("tenant").Value()
		return answer
	}, server.server(provider), client.client(provider))
	member, err := baggage.NewMember("tenant", "x")
	if err != nil {
		t.Fatal(err)
	}
	bags, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := provider.Tracer("test").Start(baggage.ContextWithBaggage(t.Context(), bags), "root")
	err = kind.Call(ctx, stub)
	span.End()
	stop() // all has ended
	if status.Code(err) != status.Code(answer) {
		t.Errorf("the call came to %v, want %v", err, answer)
	}
	if bag != "x" {
		t.Errorf("the handler has the baggage %q", bag)
	}
	return span.SpanContext(), handler, recorded.Ended()
}

func only(t *testing.T, spans []sdktrace.ReadOnlySpan, kind trace.SpanKind) sdktrace.ReadOnlySpan {
	t.Helper()
	spans = slices.DeleteFunc(slices.Clone(spans), func(s sdktrace.ReadOnlySpan) bool { return s.SpanKind() != kind })
	if len(spans) != 1 {
		t.Fatalf("%d spans of a %v, want 1", len(spans), kind)
	}
	return spans[0]
}

// Whoever is on the other side, a call is one trace: the caller's span, the
// client's below it, the server's below that.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	for _, client := range sides {
		for _, server := range sides {
			for _, kind := range rpctest.Kinds() {
				t.Run(client.name+" to "+server.name+"/"+kind.Name, func(t *testing.T) {
					t.Parallel()
					root, handler, spans := call(t, kind, client, server, sdktrace.AlwaysSample(), nil)
					near, far := only(t, spans, trace.SpanKindClient), only(t, spans, trace.SpanKindServer)
					if near.Parent().SpanID() != root.SpanID() || far.Parent().SpanID() != near.SpanContext().SpanID() || handler.SpanID() != far.SpanContext().SpanID() {
						t.Errorf("root %v, client %v below %v, server %v below %v, handler %v", root.SpanID(),
							near.SpanContext().SpanID(), near.Parent().SpanID(), far.SpanContext().SpanID(), far.Parent().SpanID(), handler.SpanID())
					}
					if handler.TraceID() != root.TraceID() || !handler.IsSampled() {
						t.Errorf("the handler is in %v, sampled %v, want %v", handler.TraceID(), handler.IsSampled(), root.TraceID())
					}
				})
			}
		}
	}
}

// What is not sampled has no spans, and travels all the same: nobody behind may
// decide anew.
func TestUnsampled(t *testing.T) {
	t.Parallel()
	for _, client := range sides {
		for _, server := range sides {
			for _, kind := range rpctest.Kinds() {
				t.Run(client.name+" to "+server.name+"/"+kind.Name, func(t *testing.T) {
					t.Parallel()
					root, handler, spans := call(t, kind, client, server, sdktrace.NeverSample(), nil)
					if len(spans) != 0 {
						t.Errorf("%d spans", len(spans))
					}
					if handler.TraceID() != root.TraceID() || handler.IsSampled() {
						t.Errorf("the handler is in %v, sampled %v, want %v", handler.TraceID(), handler.IsSampled(), root.TraceID())
					}
				})
			}
		}
	}
}

// Our spans say all that otelgrpc's say, in the same words.
func TestSpansAsOtelgrpc(t *testing.T) {
	t.Parallel()
	for _, kind := range rpctest.Kinds() {
		for code := codes.OK; code <= codes.Unauthenticated; code++ {
			t.Run(kind.Name+"/"+code.String(), func(t *testing.T) {
				t.Parallel()
				answer := status.Error(code, "because")
				_, _, ours := call(t, kind, sides[0], sides[0], sdktrace.AlwaysSample(), answer)
				_, _, theirs := call(t, kind, sides[1], sides[1], sdktrace.AlwaysSample(), answer)
				for _, spanKind := range []trace.SpanKind{trace.SpanKindClient, trace.SpanKindServer} {
					got, want := only(t, ours, spanKind), only(t, theirs, spanKind)
					attributes, said := attributesOf(got), attributesOf(want)
					// When a message on its way meets the end of the stream, grpc tells
					// stats handlers of no error, whatever the end is.
					deceived := code != codes.OK && spanKind == trace.SpanKindClient && kind.Name == "client stream" && said["rpc.response.status_code"].AsString() == "OK"
					expected := want.Status()
					if deceived {
						expected = got.Status()
						if expected.Code != otelcodes.Error {
							t.Errorf("the client's span has status %v", expected)
						}
					}
					if got.Name() != want.Name() || got.Status() != expected {
						t.Errorf("%v: %q %v, want %q %v", spanKind, got.Name(), got.Status(), want.Name(), want.Status())
					}
					for key, value := range said {
						if deceived && key == "rpc.response.status_code" {
							continue
						}
						if attributes[key] != value {
							t.Errorf("%v: %s is %v, want %v", spanKind, key, attributes[key].String(), value.String())
						}
					}
					for key, value := range map[attribute.Key]attribute.Value{
						"rpc.system": attribute.StringValue("grpc"), "rpc.service": attribute.StringValue(rpctest.Service),
						"rpc.grpc.status_code": attribute.IntValue(int(code)),
					} {
						if attributes[key] != value {
							t.Errorf("%v: %s is %v, want %v", spanKind, key, attributes[key].String(), value.String())
						}
					}
				}
			})
		}
	}
}

// A context's error is what grpc makes of it, and no Unknown.
func TestContextError(t *testing.T) {
	t.Parallel()
	provider, spans := recorder(sdktrace.AlwaysSample())
	stub, stop := rpctest.Serve(func(context.Context) error { return context.DeadlineExceeded }, server(options(provider)), nil)
	_, _ = stub.UnaryCall(t.Context(), &testpb.SimpleRequest{})
	stop()
	s := ended(t, spans, trace.SpanKindServer)
	if code := attributesOf(s)["rpc.response.status_code"].AsString(); code != "DEADLINE_EXCEEDED" || s.Status().Code != otelcodes.Error {
		t.Errorf("%v, %v", code, s.Status())
	}
}

// The trace goes into metadata that is there, in the place of what another
// call's trace left in it.
func TestMetadata(t *testing.T) {
	t.Parallel()
	provider, _ := recorder(sdktrace.AlwaysSample())
	for _, kind := range rpctest.Kinds() {
		var got metadata.MD
		stub, stop := rpctest.Serve(func(ctx context.Context) error {
			got, _ = metadata.FromIncomingContext(ctx)
			return nil
		}, nil, client(options(provider)))
		stale := metadata.Pairs("traceparent", "00-11111111111111111111111111111111-2222222222222222-01", "x-own", "1", "x-own", "2")
		ctx := metadata.NewOutgoingContext(t.Context(), stale)
		ctx = metadata.AppendToOutgoingContext(ctx, "x-own", "3")
		ctx, span := provider.Tracer("test").Start(ctx, "root")
		if err := kind.Call(ctx, stub); err != nil {
			t.Fatal(err)
		}
		stop()
		if own := got.Get("x-own"); !slices.Equal(own, []string{"1", "2", "3"}) {
			t.Errorf("%s: x-own is %v", kind.Name, own)
		}
		parents := got.Get("traceparent")
		if len(parents) != 1 || !strings.HasPrefix(parents[0], "00-"+span.SpanContext().TraceID().String()+"-") || !strings.HasSuffix(parents[0], "-01") {
			t.Errorf("%s: traceparent is %v, and the trace %v", kind.Name, parents, span.SpanContext().TraceID())
		}
		if of := stale.Get("traceparent"); !strings.HasPrefix(of[0], "00-1111") {
			t.Errorf("%s: the caller's own metadata was changed to %v", kind.Name, of)
		}
	}
}

func TestTraceState(t *testing.T) {
	t.Parallel()
	provider, _ := recorder(sdktrace.AlwaysSample())
	var got string
	stub, stop := rpctest.Serve(func(ctx context.Context) error {
		got = spanOf(ctx).TraceState().String()
		return nil
	}, server(options(provider)), client(options(provider)))
	defer stop()
	state, err := trace.ParseTraceState("vendor=abc")
	if err != nil {
		t.Fatal(err)
	}
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true,
	}))
	if _, err := stub.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil || got != "vendor=abc" {
		t.Errorf("%q, %v", got, err)
	}
}

// Without a provider or a propagator calls go on as ever.
func TestDefaults(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]tracing.Option{
		"of OpenTelemetry": nil,
		"no-op":            {tracing.WithTracerProvider(noop.NewTracerProvider()), tracing.WithPropagator(propagator)},
	} {
		stub, stop := rpctest.Serve(func(ctx context.Context) error {
			if md, _ := metadata.FromIncomingContext(ctx); len(md.Get("traceparent")) != 0 {
				t.Errorf("%s: a trace came from nowhere", name)
			}
			return nil
		}, server(opts), client(opts))
		for _, kind := range rpctest.Kinds() {
			if err := kind.Call(t.Context(), stub); err != nil {
				t.Errorf("%s, %s: %v", name, kind.Name, err)
			}
		}
		stop()
	}
}

// A service that traces nothing itself passes the trace on.
func TestNoopPassesOn(t *testing.T) {
	t.Parallel()
	opts := []tracing.Option{tracing.WithTracerProvider(noop.NewTracerProvider()), tracing.WithPropagator(propagator)}
	var got trace.SpanContext
	last, stop := rpctest.Serve(func(ctx context.Context) error {
		got = spanOf(ctx)
		return nil
	}, server(opts), client(opts))
	defer stop()
	middle, stop := rpctest.Serve(func(ctx context.Context) error {
		_, err := last.UnaryCall(ctx, &testpb.SimpleRequest{})
		return err
	}, server(opts), nil)
	defer stop()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if _, err := middle.UnaryCall(metadata.AppendToOutgoingContext(t.Context(), "traceparent", parent), &testpb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	if got.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || !got.IsSampled() {
		t.Errorf("the last one is in %v", got)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		opts []tracing.Option
		want int // spans of a call of each kind, on each side
	}{
		{nil, 4},
		{[]tracing.Option{tracing.WithFilter(func(m string) bool { return !strings.HasSuffix(m, "Call") })}, 0},
		{[]tracing.Option{tracing.WithFilter(func(m string) bool { return strings.HasSuffix(m, "/UnaryCall") })}, 1},
		{[]tracing.Option{tracing.WithFilter(nil)}, 4},
	} {
		provider, spans := recorder(sdktrace.AlwaysSample())
		opts := options(provider, test.opts...)
		stub, stop := rpctest.Serve(func(context.Context) error { return nil }, server(opts), client(opts))
		for _, kind := range rpctest.Kinds() {
			if err := kind.Call(t.Context(), stub); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		if n := len(spans.Ended()); n != 2*test.want {
			t.Errorf("%d spans, want %d", n, 2*test.want)
		}
	}
}

// By default grpc's own methods are left out.
func TestInfrastructure(t *testing.T) {
	t.Parallel()
	provider, spans := recorder(sdktrace.AlwaysSample())
	serve := tracing.UnaryServerInterceptor(options(provider)...)
	for _, method := range []string{"/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.channelz.v1.Channelz/GetServer", "/greeter.v1.Greeter/SayHello"} {
		_, err := serve(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) { return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	if s := ended(t, spans, trace.SpanKindServer); s.Name() != "greeter.v1.Greeter/SayHello" {
		t.Error(s.Name())
	}
}

func TestNewRoots(t *testing.T) {
	t.Parallel()
	provider, spans := recorder(sdktrace.AlwaysSample())
	opts := options(provider, tracing.WithNewRoots(), tracing.WithAttributes(attribute.String("edge", "a")))
	stub, stop := rpctest.Serve(func(context.Context) error { return nil }, server(opts), client(opts))
	if _, err := stub.UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	stop()
	near, far := ended(t, spans, trace.SpanKindClient), ended(t, spans, trace.SpanKindServer)
	if far.Parent().IsValid() || far.SpanContext().TraceID() == near.SpanContext().TraceID() {
		t.Error("the server goes on with the client's trace")
	}
	if links := far.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != near.SpanContext().SpanID() {
		t.Errorf("links: %v", links)
	}
	if got := attributesOf(far)["edge"].AsString(); got != "a" {
		t.Errorf("edge is %q", got)
	}
}

// A panic ends the span, and shows in it, inside of recovery or outside.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, kind := range rpctest.Kinds() {
		provider, spans := recorder(sdktrace.AlwaysSample())
		logger, _ := rpctest.Log(0)
		guard := []grpc.ServerOption{grpc.ChainUnaryInterceptor(recovery.UnaryServerInterceptor(logger)), grpc.ChainStreamInterceptor(recovery.StreamServerInterceptor(logger))}
		for _, chain := range [][]grpc.ServerOption{
			append(server(options(provider)), guard...),
			append(slices.Clone(guard), server(options(provider))...),
		} {
			stub, stop := rpctest.Serve(func(context.Context) error { panic("boom") }, chain, nil)
			if err := kind.Call(t.Context(), stub); status.Code(err) != codes.Internal {
				t.Errorf("%s: %v", kind.Name, err)
			}
			stop()
		}
		all := spans.Ended()
		if len(all) != 2 {
			t.Fatalf("%s: %d spans", kind.Name, len(all))
		}
		if code := attributesOf(all[0])["rpc.response.status_code"].AsString(); code != "INTERNAL" {
			t.Errorf("%s, outside of recovery: %v", kind.Name, code)
		}
		if events := all[1].Events(); len(events) != 1 || events[0].Name != "exception" {
			t.Errorf("%s, inside of recovery: %v", kind.Name, events)
		}
	}
}

// A stream that is left before its end has ended as well, and one that never
// began, too.
func TestStreamThatIsLeft(t *testing.T) {
	t.Parallel()
	provider, spans := recorder(sdktrace.AlwaysSample())
	stub, stop := rpctest.Serve(func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}, nil, client(options(provider)))
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := stub.FullDuplexCall(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	wait.Until(t, "the end of the span", func() bool { return len(spans.Ended()) == 1 })
	if code := attributesOf(spans.Ended()[0])["rpc.response.status_code"].AsString(); code != "CANCELLED" {
		t.Errorf("it ended as %v", code)
	}
	if _, err := stub.FullDuplexCall(ctx); status.Code(err) != codes.Canceled {
		t.Errorf("a stream without a future began: %v", err)
	}
	if n := len(spans.Ended()); n != 2 {
		t.Errorf("%d spans, want one more", n)
	}
}

func TestUnknownService(t *testing.T) {
	t.Parallel()
	provider, spans := recorder(sdktrace.AlwaysSample())
	conn, stop := rpctest.Conn(nil, append(server(options(provider)), grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return nil })), nil)
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/made.Up/Method")
	if err == nil {
		err = stream.RecvMsg(&testpb.Empty{})
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	stop()
	if s := ended(t, spans, trace.SpanKindServer); s.Name() != "made.Up/Method" {
		t.Error(s.Name())
	}
}
