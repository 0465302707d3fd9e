package tracing

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/grpc-micro/micro/pubsub"
)

// traceParent is the header by which one sees that an event is in a trace.
const traceParent = "traceparent"

// Publisher returns a publisher that traces the events it gets, a producer span
// each, and has p publish them with their trace in the header: traceparent and
// tracestate, as W3C Trace Context for CloudEvents and Kafka has them. An event
// that has a traceparent already keeps it and gets no span: it was traced when
// it came about, and is only passed on.
func Publisher(p pubsub.Publisher, opts ...Option) pubsub.Publisher {
	return &publisher{newTracer(trace.SpanKindProducer, opts), p}
}

type publisher struct {
	*tracer

	to pubsub.Publisher
}

func (p *publisher) Publish(ctx context.Context, msgs ...*pubsub.Message) error {
	if err := pubsub.Prepare(msgs); err != nil { // what it fills in is the caller's to see
		return err
	}
	traced, spans := slices.Clone(msgs), make([]trace.Span, len(msgs))
	for i, m := range msgs {
		if m.Header.Get(traceParent) == nil {
			traced[i], spans[i] = p.start(ctx, m)
		}
	}
	err := p.to.Publish(ctx, traced...)
	for i, span := range spans {
		if span != nil {
			finishEvent(span, result(err, i))
		}
	}
	return err
}

// start returns a message like m, in the trace of its span.
func (p *publisher) start(ctx context.Context, m *pubsub.Message) (*pubsub.Message, trace.Span) {
	ctx, span := p.Start(ctx, "send "+m.Topic, trace.WithSpanKind(trace.SpanKindProducer))
	if span.IsRecording() {
		span.SetAttributes(eventAttributes("send", m)...)
		span.SetAttributes(p.attributes...)
	}
	t := *m
	t.Header = slices.Clip(m.Header)
	p.propagator.Inject(ctx, (*header)(&t.Header))
	return &t, span
}

// result is what became of the message at i.
func result(err error, i int) error {
	if failed, ok := errors.AsType[*pubsub.PublishError](err); ok && i < len(failed.Results) {
		return failed.Results[i]
	}
	return err
}

// Middleware traces the handling of events: a consumer span for each attempt,
// below the producer's span, which the header names. It goes round the handler
// by pubsub.WithMiddleware.
func Middleware(opts ...Option) pubsub.Middleware {
	t := newTracer(trace.SpanKindConsumer, opts)
	start := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			ctx, span := t.startIn(t.propagator.Extract(ctx, (*header)(&d.Header)), "process "+d.Topic, start)
			if !span.IsRecording() {
				return next(ctx, d)
			}
			defer span.End() // after a panic, which it records
			span.SetAttributes(eventAttributes("process", d.Message)...)
			span.SetAttributes(t.attributes...)
			span.SetAttributes(
				attribute.String("messaging.consumer.group.name", d.Group),
				attribute.String("messaging.destination.partition.id", strconv.Itoa(d.Partition)),
				attribute.Int64("micro.offset", d.Offset),
				attribute.Int("micro.attempt", d.Attempt))
			err := next(ctx, d)
			finishEvent(span, err)
			return err
		}
	}
}

// eventAttributes are those of the semantic conventions for messaging.
func eventAttributes(operation string, m *pubsub.Message) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.operation.name", operation),
		attribute.String("messaging.operation.type", operation),
		attribute.String("messaging.destination.name", m.Topic),
		attribute.String("messaging.message.id", m.ID),
		attribute.Int("messaging.message.body.size", len(m.Value)),
		attribute.String("cloudevents.event_type", m.Type),
	}
}

func finishEvent(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(otelcodes.Error, err.Error())
	}
	span.End()
}

// header is a pubsub.Header, for propagators. Repeated keys are no lists there:
// the last one counts.
type header pubsub.Header

// Get implements propagation.TextMapCarrier.
func (h *header) Get(key string) string { return string(pubsub.Header(*h).Get(key)) }

// Set implements propagation.TextMapCarrier.
func (h *header) Set(key, value string) {
	*h = append(*h, pubsub.Attr{Key: key, Value: []byte(value)})
}

// Keys implements propagation.TextMapCarrier.
func (h *header) Keys() []string {
	keys := make([]string, len(*h))
	for i, a := range *h {
		keys[i] = a.Key
	}
	return keys
}
