package tracing_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/grpc-micro/micro/interceptors/tracing"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
)

// subscribe has handle get what is published to topic until the test ends.
func subscribe(t *testing.T, b pubsub.Broker, topic string, handle pubsub.Handler, opts ...pubsub.SubscribeOption) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.Subscribe(ctx, topic, "group", handle, append(opts, pubsub.WithReady(func() { close(ready) }))...)
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func memory(t *testing.T) pubsub.Broker {
	t.Helper()
	b := pubsub.NewMemory()
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestEvent(t *testing.T) {
	t.Parallel()
	for name, sampler := range map[string]sdktrace.Sampler{"sampled": sdktrace.AlwaysSample(), "unsampled": sdktrace.NeverSample()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			provider, spans := recorder(sampler)
			opts := options(provider, tracing.WithAttributes(attribute.String("messaging.system", "memory")))
			b := memory(t)
			type seen struct {
				span   trace.SpanContext
				header string
				tenant string
			}
			handled := make(chan seen, 1)
			subscribe(t, b, "orders.placed", func(ctx context.Context, d *pubsub.Delivery) error {
				handled <- seen{spanOf(ctx), string(d.Header.Get("traceparent")), baggage.FromContext(ctx).Member("tenant").Value()}
				return nil
			}, pubsub.WithMiddleware(tracing.Middleware(opts...)))

			bags, err := baggage.Parse("tenant=x")
			if err != nil {
				t.Fatal(err)
			}
			ctx, root := provider.Tracer("test").Start(baggage.ContextWithBaggage(t.Context(), bags), "root")
			own := pubsub.Header{{Key: "x", Value: []byte("1")}}
			m := &pubsub.Message{Topic: "orders.placed", Type: "orders.v1.Placed", Value: []byte("four"), Header: own}
			if err := tracing.Publisher(b, opts...).Publish(ctx, m); err != nil {
				t.Fatal(err)
			}
			if m.ID == "" || len(m.Header) != 1 {
				t.Errorf("the caller's message has the ID %q and the header %v", m.ID, m.Header)
			}
			got := <-handled
			if got.span.TraceID() != root.SpanContext().TraceID() || got.span.IsSampled() != root.SpanContext().IsSampled() {
				t.Errorf("the handler is in %v, and the publisher in %v", got.span, root.SpanContext())
			}
			if got.tenant != "x" {
				t.Errorf("the handler has the baggage %q", got.tenant)
			}
			// version, trace, span and flags, as W3C Trace Context writes them
			if parts := strings.Split(got.header, "-"); len(parts) != 4 || parts[0] != "00" || parts[1] != root.SpanContext().TraceID().String() || parts[3] != root.SpanContext().TraceFlags().String() {
				t.Errorf("traceparent is %q, and the trace %v", got.header, root.SpanContext().TraceID())
			}
			if name == "unsampled" {
				if n := len(spans.Ended()); n != 0 {
					t.Errorf("%d spans", n)
				}
				return
			}
			wait.Until(t, "both spans", func() bool { return len(spans.Ended()) == 2 })
			producer, consumer := ended(t, spans, trace.SpanKindProducer), ended(t, spans, trace.SpanKindConsumer)
			if producer.Parent().SpanID() != root.SpanContext().SpanID() || consumer.Parent().SpanID() != producer.SpanContext().SpanID() {
				t.Errorf("producer below %v, consumer below %v", producer.Parent().SpanID(), consumer.Parent().SpanID())
			}
			if producer.Name() != "send orders.placed" || consumer.Name() != "process orders.placed" {
				t.Errorf("%q, %q", producer.Name(), consumer.Name())
			}
			for key, want := range map[attribute.Key]string{
				"messaging.system": "memory", "messaging.destination.name": "orders.placed", "messaging.message.id": m.ID,
				"messaging.message.body.size": "4", "cloudevents.event_type": "orders.v1.Placed",
			} {
				for _, s := range []sdktrace.ReadOnlySpan{producer, consumer} {
					if got := attributesOf(s)[key]; got.String() != want {
						t.Errorf("%s: %s is %q, want %q", s.Name(), key, got.String(), want)
					}
				}
			}
			if group := attributesOf(consumer)["messaging.consumer.group.name"].AsString(); group != "group" {
				t.Errorf("the group is %q", group)
			}
		})
	}
}

// Each attempt is a span, and says what came of it.
func TestAttempts(t *testing.T) {
	t.Parallel()
	provider, spans := recorder(sdktrace.AlwaysSample())
	b := memory(t)
	subscribe(t, b, "retried", func(_ context.Context, d *pubsub.Delivery) error {
		if d.Attempt == 1 {
			return errors.New("not yet")
		}
		return nil
	}, pubsub.WithMiddleware(tracing.Middleware(options(provider)...)), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 2, InitialBackoff: time.Millisecond}))
	if err := b.Publish(t.Context(), &pubsub.Message{Topic: "retried"}); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "both attempts", func() bool { return len(spans.Ended()) == 2 })
	first, second := spans.Ended()[0], spans.Ended()[1]
	if first.Status().Code != otelcodes.Error || first.Status().Description != "not yet" || second.Status().Code != otelcodes.Unset {
		t.Errorf("%v, %v", first.Status(), second.Status())
	}
	if n := attributesOf(second)["micro.attempt"].AsInt64(); n != 2 {
		t.Errorf("the second attempt is the %dth", n)
	}
}

// What is in a trace already is only passed on.
func TestEventInTrace(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	provider, spans := recorder(sdktrace.AlwaysSample())
	b := memory(t)
	handled := make(chan trace.SpanContext, 1)
	opts := options(provider, tracing.WithNewRoots())
	subscribe(t, b, "forwarded", func(ctx context.Context, _ *pubsub.Delivery) error {
		handled <- spanOf(ctx)
		return nil
	}, pubsub.WithMiddleware(tracing.Middleware(opts...)))
	m := &pubsub.Message{Topic: "forwarded", Header: pubsub.Header{{Key: "traceparent", Value: []byte(parent)}}}
	if err := tracing.Publisher(b, opts...).Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	<-handled
	wait.Until(t, "the consumer's span", func() bool { return len(spans.Ended()) == 1 })
	s := ended(t, spans, trace.SpanKindConsumer)
	if links := s.Links(); s.Parent().IsValid() || len(links) != 1 || links[0].SpanContext.TraceID().String() != parent[3:35] {
		t.Errorf("below %v, links %v", s.Parent(), links)
	}
}

// failing is a publisher that gets the second of two messages through.
type failing struct{}

var errUnsent = errors.New("no room")

func (failing) Publish(_ context.Context, msgs ...*pubsub.Message) error {
	if len(msgs) == 1 {
		return errUnsent
	}
	return &pubsub.PublishError{Results: []error{errUnsent, nil}}
}

// Each message of a call has the result that is its own.
func TestPublishError(t *testing.T) {
	t.Parallel()
	provider, spans := recorder(sdktrace.AlwaysSample())
	p := tracing.Publisher(failing{}, options(provider)...)
	if err := p.Publish(t.Context(), &pubsub.Message{Topic: "a"}, &pubsub.Message{Topic: "b"}); !errors.Is(err, errUnsent) {
		t.Error(err)
	}
	if err := p.Publish(t.Context(), &pubsub.Message{Topic: "c"}); !errors.Is(err, errUnsent) {
		t.Error(err)
	}
	if err := p.Publish(t.Context(), &pubsub.Message{Topic: "not a topic"}); !errors.Is(err, pubsub.ErrRejected) {
		t.Error(err)
	}
	want := map[string]otelcodes.Code{"send a": otelcodes.Error, "send b": otelcodes.Unset, "send c": otelcodes.Error}
	for _, s := range spans.Ended() {
		if s.Status().Code != want[s.Name()] {
			t.Errorf("%s: %v", s.Name(), s.Status())
		}
		delete(want, s.Name())
	}
	if len(want) != 0 {
		t.Errorf("no spans of %v", want)
	}
}
