package tracing

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	rpccode "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors/internal/methods"
	"github.com/grpc-micro/micro/interceptors/internal/outcome"
)

// scope names this package to the provider.
const scope = "github.com/grpc-micro/micro/interceptors/tracing"

// tracer makes the spans of one kind.
type tracer struct {
	trace.Tracer

	kind       trace.SpanKind
	propagator propagation.TextMapPropagator
	filter     func(fullMethod string) bool
	attributes []attribute.KeyValue
	newRoots   bool
	methods    methods.Table[method]
}

func newTracer(kind trace.SpanKind, opts []Option) *tracer {
	o := newOptions(opts)
	t := &tracer{
		Tracer: o.provider.Tracer(scope), kind: kind, propagator: o.propagator,
		filter: o.filter, attributes: o.attributes, newRoots: o.newRoots,
	}
	t.methods.New = t.newMethod
	return t
}

// method is what the spans of a method begin with. It is made once, so that a
// span that nobody records needs nothing but itself.
type method struct {
	name       string
	skip       bool
	start      []trace.SpanStartOption
	attributes []attribute.KeyValue
}

func (t *tracer) newMethod(fullMethod string) *method {
	name := strings.TrimPrefix(fullMethod, "/")
	service, _ := methods.Split(fullMethod)
	return &method{
		name:  name,
		skip:  !t.filter(fullMethod),
		start: []trace.SpanStartOption{trace.WithSpanKind(t.kind)},
		attributes: append([]attribute.KeyValue{
			attribute.String("rpc.system", "grpc"),
			attribute.String("rpc.system.name", "grpc"),
			attribute.String("rpc.service", service),
			attribute.String("rpc.method", name),
		}, t.attributes...),
	}
}

// startIn starts a span below the one that came in with ctx.
func (t *tracer) startIn(ctx context.Context, name string, start []trace.SpanStartOption) (context.Context, trace.Span) {
	if t.newRoots {
		start = append(slices.Clip(start), trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(ctx)))
	}
	return t.Start(ctx, name, start...)
}

// finish ends a span that is recorded.
func (t *tracer) finish(span trace.Span, err error, server net.Addr) {
	code := outcome.Code(err)
	span.SetAttributes(
		attribute.Int64("rpc.grpc.status_code", int64(code)),
		attribute.String("rpc.response.status_code", canonical(code)))
	if server != nil {
		span.SetAttributes(address(server.String())...)
	}
	if code != codes.OK && t.kind == trace.SpanKindClient || outcome.ServerFault(code) {
		span.SetStatus(otelcodes.Error, status.Convert(err).Message())
	}
	span.End()
}

// canonical is how the specification of gRPC writes a code: NOT_FOUND.
func canonical(code codes.Code) string {
	if name, ok := rpccode.Code_name[int32(code)]; ok {
		return name
	}
	return code.String()
}

// address names what serves: a host and a port, or a socket.
func address(addr string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return []attribute.KeyValue{attribute.String("server.address", addr)}
	}
	attributes := []attribute.KeyValue{attribute.String("server.address", host)}
	if n, err := strconv.Atoi(port); err == nil {
		attributes = append(attributes, attribute.Int("server.port", n))
	}
	return attributes
}
