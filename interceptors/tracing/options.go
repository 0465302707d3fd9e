package tracing

import (
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Option changes how calls and events are traced.
type Option func(*options)

type options struct {
	provider   trace.TracerProvider
	propagator propagation.TextMapPropagator
	filter     func(fullMethod string) bool
	attributes []attribute.KeyValue
	newRoots   bool
}

// WithTracerProvider sets where spans come from. The default is OpenTelemetry's
// global provider, which makes none until the program sets one.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(o *options) { o.provider = provider }
}

// WithPropagator sets what travels to the other side, and how:
//
//	propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
//
// The default is OpenTelemetry's global one, which sends and reads nothing until
// the program sets one: then each process has traces of its own.
func WithPropagator(propagator propagation.TextMapPropagator) Option {
	return func(o *options) { o.propagator = propagator }
}

// WithFilter traces only the methods for whose full name, such as
// "/greeter.v1.Greeter/SayHello", wanted returns true; it is asked once a method.
// The others are as if there were no interceptor, so a trace that they are in
// goes on behind them as far as their handlers see to it. The default is all but
// grpc's own: health, reflection and channelz.
func WithFilter(wanted func(fullMethod string) bool) Option {
	return func(o *options) { o.filter = wanted }
}

// WithAttributes adds attributes to each span that is recorded: of events, such
// as semconv.MessagingSystemKafka, which a publisher does not tell.
func WithAttributes(attributes ...attribute.KeyValue) Option {
	return func(o *options) { o.attributes = append(o.attributes, attributes...) }
}

// WithNewRoots has servers and handlers of events begin a trace of their own, with a
// link to the caller's: for an edge where callers are not to decide what is
// sampled, and for events that are handled long after. The default is to go on
// with the caller's trace.
func WithNewRoots() Option { return func(o *options) { o.newRoots = true } }

func newOptions(opts []Option) options {
	o := options{filter: notInfrastructure}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.provider == nil {
		o.provider = otel.GetTracerProvider()
	}
	if o.propagator == nil {
		o.propagator = otel.GetTextMapPropagator()
	}
	if o.filter == nil {
		o.filter = func(string) bool { return true }
	}
	return o
}

func notInfrastructure(fullMethod string) bool {
	return !strings.HasPrefix(fullMethod, "/grpc.health.") &&
		!strings.HasPrefix(fullMethod, "/grpc.reflection.") &&
		!strings.HasPrefix(fullMethod, "/grpc.channelz.")
}
