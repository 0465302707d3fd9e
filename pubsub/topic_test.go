package pubsub_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/grpc-micro/micro/codec"
	"github.com/grpc-micro/micro/pubsub"
)

type order struct {
	ID    string
	Items []string
}

// outbox is a Publisher that keeps what it is given, or fails.
type outbox struct {
	msgs []*pubsub.Message
	err  error
}

func (o *outbox) Publish(_ context.Context, msgs ...*pubsub.Message) error {
	if o.err != nil {
		return o.err
	}
	o.msgs = append(o.msgs, msgs...)
	return nil
}

var texts = pubsub.NewTopic[wrapperspb.StringValue]("texts",
	pubsub.WithKey(func(m *wrapperspb.StringValue) string { return m.GetValue() }))

func TestTopicMessage(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 8, 3, 0, 0, time.UTC)
	set := []pubsub.PublishOption{pubsub.WithID("1"), pubsub.WithTime(at)}
	proto := &pubsub.Message{
		ID: "1", Time: at, Topic: "texts", Source: "texts", Type: "google.protobuf.StringValue",
		ContentType: "application/protobuf", Key: []byte("x"), Value: []byte("\x0a\x01x"),
	}
	with := func(change func(*pubsub.Message)) *pubsub.Message {
		m := *proto
		change(&m)
		return &m
	}
	for name, test := range map[string]struct {
		make func(...pubsub.PublishOption) (*pubsub.Message, error)
		opts []pubsub.PublishOption
		want *pubsub.Message
	}{
		"proto": {
			func(opts ...pubsub.PublishOption) (*pubsub.Message, error) {
				return texts.Message(wrapperspb.String("x"), opts...)
			},
			nil, proto,
		},
		"options": {
			func(opts ...pubsub.PublishOption) (*pubsub.Message, error) {
				return texts.Message(wrapperspb.String("x"), opts...)
			},
			[]pubsub.PublishOption{
				pubsub.WithSource("/here"), pubsub.WithSubject("it"), pubsub.WithCodec(codec.JSON),
				pubsub.WithHeader("a", []byte("1")), pubsub.WithHeader("a", []byte("2")),
			},
			with(func(m *pubsub.Message) {
				m.Source, m.Subject, m.ContentType, m.Value = "/here", "it", "application/json", []byte(`"x"`)
				m.Header = pubsub.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}}
			}),
		},
		"an event without fields is no tombstone, and an empty key none": {
			func(opts ...pubsub.PublishOption) (*pubsub.Message, error) {
				return texts.Message(&wrapperspb.StringValue{}, opts...)
			},
			nil,
			with(func(m *pubsub.Message) { m.Key, m.Value = nil, []byte{} }),
		},
		"plain struct": {
			func(opts ...pubsub.PublishOption) (*pubsub.Message, error) {
				return pubsub.NewTopic[order]("orders", pubsub.WithSource("/shop"),
					pubsub.WithKey(func(o *order) string { return o.ID })).Message(&order{ID: "7"}, opts...)
			},
			nil,
			&pubsub.Message{
				ID: "1", Time: at, Topic: "orders", Source: "/shop", Type: "pubsub_test.order",
				ContentType: "application/json", Key: []byte("7"), Value: []byte(`{"ID":"7","Items":null}`),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.make(append(set[:2:2], test.opts...)...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTopicPublish(t *testing.T) {
	t.Parallel()
	var box outbox
	if err := texts.Publish(t.Context(), &box, wrapperspb.String("x")); err != nil {
		t.Fatal(err)
	}
	if len(box.msgs) != 1 {
		t.Fatalf("published %d messages", len(box.msgs))
	}
	m := box.msgs[0]
	if ago := time.Since(m.Time); ago < 0 || ago > time.Minute {
		t.Errorf("published at %v", m.Time)
	}
	got, err := texts.Decode(m)
	if err != nil || got.GetValue() != "x" {
		t.Errorf("decoded %v, %v", got, err)
	}

	box.err = &pubsub.PublishError{Results: []error{pubsub.ErrUnknown}}
	if err := texts.Publish(t.Context(), &box, wrapperspb.String("x")); !errors.Is(err, pubsub.ErrUnknown) {
		t.Errorf("got %v, want what the publisher said", err)
	}
	for name, err := range map[string]error{
		"nil event":     texts.Publish(t.Context(), &box, nil),
		"nil publisher": texts.Publish(t.Context(), nil, wrapperspb.String("x")),
		"nil option":    texts.Publish(t.Context(), &box, wrapperspb.String("x"), nil),
		"nil codec":     texts.Publish(t.Context(), &box, wrapperspb.String("x"), pubsub.WithCodec(nil)),
		"bad header":    texts.Publish(t.Context(), &box, wrapperspb.String("x"), pubsub.WithHeader("ce_type", nil)),
		"not UTF-8":     texts.Publish(t.Context(), &box, wrapperspb.String("\xff")),
	} {
		if failure, ok := errors.AsType[*pubsub.PublishError](err); !ok || len(failure.Results) != 1 || !errors.Is(err, pubsub.ErrRejected) {
			t.Errorf("%s: got %v, want a PublishError that says rejected", name, err)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := make(map[string]bool)
	at := time.UnixMilli(0x0123456789ab)
	for range 10_000 {
		m, err := texts.Message(wrapperspb.String("x"), pubsub.WithTime(at))
		if err != nil {
			t.Fatal(err)
		}
		if !uuid.MatchString(m.ID) || !strings.HasPrefix(m.ID, "01234567-89ab-") {
			t.Fatalf("%q is no UUID of version 7 at that time", m.ID)
		}
		seen[m.ID] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("10000 messages have %d IDs", len(seen))
	}
}

func TestTopicDecode(t *testing.T) {
	t.Parallel()
	want := &grpc_testing.Payload{Body: []byte("x")}
	topic := pubsub.NewTopic[grpc_testing.Payload]("payloads")
	lone := pubsub.NewTopic[grpc_testing.Payload]("payloads", pubsub.WithCodec(unregistered{codec.JSON}))
	for name, test := range map[string]struct {
		topic pubsub.Topic[grpc_testing.Payload]
		m     *pubsub.Message
		err   string // "" for none
	}{
		"topic's codec":      {topic, &pubsub.Message{Value: []byte("\x12\x01x")}, ""},
		"proto":              {topic, &pubsub.Message{ContentType: "application/x-protobuf", Value: []byte("\x12\x01x")}, ""},
		"json":               {topic, &pubsub.Message{ContentType: "application/json; charset=utf-8", Value: []byte(`{"body":"eA=="}`)}, ""},
		"its type":           {topic, &pubsub.Message{Type: "grpc.testing.Payload", Value: []byte("\x12\x01x")}, ""},
		"foreign type":       {topic, &pubsub.Message{Type: "com.example.payload", Value: []byte("\x12\x01x")}, ""},
		"unregistered codec": {lone, &pubsub.Message{ContentType: "application/x-lone", Value: []byte(`{"body":"eA=="}`)}, ""},

		"other message": {topic, &pubsub.Message{Type: "google.protobuf.StringValue", Value: []byte("\x0a\x01x")}, "it is a google.protobuf.StringValue"},
		"unknown":       {topic, &pubsub.Message{ContentType: "text/plain", Value: []byte("x")}, `"text/plain"`},
		"cut off":       {topic, &pubsub.Message{Value: []byte("\x12\x05x")}, "proto"},
		"bad json":      {topic, &pubsub.Message{ContentType: "application/json", Value: []byte("{")}, "json"},
		"tombstone":     {topic, &pubsub.Message{}, "tombstone"},
		"nil":           {topic, nil, "tombstone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.topic.Decode(test.m)
			if test.err != "" {
				if !errors.Is(err, pubsub.ErrDecode) || !strings.Contains(err.Error(), test.err) || got != nil {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// Whatever comes, Decode gives an event or ErrDecode, and never both.
func FuzzTopicDecode(f *testing.F) {
	topic := pubsub.NewTopic[grpc_testing.SimpleRequest]("requests")
	f.Add("", "", []byte("\x12\x01x"))
	f.Add("application/json; a=b", "grpc.testing.SimpleRequest", []byte(`{"payload":{"body":"eA=="}}`))
	f.Add("application/protobuf", "google.protobuf.StringValue", []byte{})
	f.Fuzz(func(t *testing.T, contentType, typ string, value []byte) {
		m := &pubsub.Message{Topic: "requests", ContentType: contentType, Type: typ, Value: value}
		if got, err := topic.Decode(m); (got == nil) != errors.Is(err, pubsub.ErrDecode) || (got == nil) == (err == nil) {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// unregistered is a codec that only its topic knows.
type unregistered struct{ codec.Codec }

func (unregistered) Name() string           { return "lone" }
func (unregistered) ContentTypes() []string { return []string{"application/x-lone"} }

// A mistake in the declaration is reported by each use, and by no panic.
func TestTopicMistakes(t *testing.T) {
	t.Parallel()
	mistake[*wrapperspb.StringValue](t, "pointer", pubsub.NewTopic[*wrapperspb.StringValue]("t"), "write NewTopic[wrapperspb.StringValue]")
	mistake[string](t, "no struct", pubsub.NewTopic[string]("t"), "an event is a struct")
	mistake[any](t, "interface", pubsub.NewTopic[any]("t"), "an event is a struct")
	mistake[struct{ A int }](t, "no name", pubsub.NewTopic[struct{ A int }]("t"), "needs a name")
	mistake[order](t, "zero", pubsub.Topic[order]{}, "not made by NewTopic")
	mistake[order](t, "topic", pubsub.NewTopic[order]("a topic"), `"a topic"`)
	mistake[order](t, "option", pubsub.NewTopic[order]("t", nil), "nil TopicOption")
	mistake[order](t, "codec", pubsub.NewTopic[order]("t", pubsub.WithCodec(nil)), "codec")
	mistake[order](t, "retry", pubsub.NewTopic[order]("t", pubsub.WithRetry(pubsub.RetryPolicy{Attempts: -2})), "attempts")
	mistake[order](t, "key", pubsub.NewTopic[order]("t",
		pubsub.WithKey(func(*wrapperspb.StringValue) string { return "" })), "the events are pubsub_test.order")
}

func mistake[T any](t *testing.T, name string, topic pubsub.Topic[T], want string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		broker := pubsub.NewMemory()
		_, messageErr := topic.Message(new(T))
		_, decodeErr := topic.Decode(&pubsub.Message{Value: []byte{}})
		for use, err := range map[string]error{
			"Message":   messageErr,
			"Decode":    decodeErr,
			"Publish":   topic.Publish(t.Context(), broker, new(T)),
			"Subscribe": topic.Subscribe(t.Context(), broker, "g", func(context.Context, *T) error { return nil }),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got error %v, want one with %q", use, err, want)
			}
		}
	})
}

func TestTopicSubscribe(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory()
	if err := texts.Publish(ctx, broker, wrapperspb.String("x"), pubsub.WithSubject("s")); err != nil {
		t.Fatal(err)
	}
	err := texts.Subscribe(ctx, broker, "g", func(ctx context.Context, m *wrapperspb.StringValue) error {
		d := pubsub.DeliveryFrom(ctx)
		if m.GetValue() != "x" || d.Subject != "s" || d.Group != "g" || d.Attempt != 1 {
			t.Errorf("got %v by %+v", m, d)
		}
		return nil
	}, pubsub.WithLimit(1))
	if err != nil {
		t.Error(err)
	}
	if d := pubsub.DeliveryFrom(ctx); d != nil {
		t.Errorf("outside a handler there is %v", d)
	}
	for name, err := range map[string]error{
		"nil broker":  texts.Subscribe(ctx, nil, "g", func(context.Context, *wrapperspb.StringValue) error { return nil }),
		"nil handler": texts.Subscribe(ctx, broker, "g", nil),
		"nil option":  texts.Subscribe(ctx, broker, "g", func(context.Context, *wrapperspb.StringValue) error { return nil }, nil),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "pubsub: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// What the topic declares holds for each subscription that says nothing else.
func TestTopicDefaults(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	topic := pubsub.NewTopic[order]("orders", pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 3, InitialBackoff: 1}), pubsub.WithDeadLetterTopic("aside"))
	for group, test := range map[string]struct {
		opts  []pubsub.SubscribeOption
		tries int
	}{
		"declared": {nil, 3},
		"own":      {[]pubsub.SubscribeOption{pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 1})}, 1},
	} {
		broker := pubsub.NewMemory()
		if err := topic.Publish(ctx, broker, &order{}); err != nil {
			t.Fatal(err)
		}
		tries := 0
		err := topic.Subscribe(ctx, broker, group, func(context.Context, *order) error {
			tries++
			return errors.New("no")
		}, append(test.opts, pubsub.WithLimit(1), quiet)...)
		if err != nil || tries != test.tries {
			t.Errorf("%s: %d tries, %v; want %d", group, tries, err, test.tries)
		}
		err = broker.Subscribe(ctx, "aside", group, func(context.Context, *pubsub.Delivery) error { return nil }, pubsub.WithLimit(1))
		if err != nil {
			t.Errorf("%s: no dead letter: %v", group, err)
		}
	}
}

func TestAllocations(t *testing.T) {
	event := wrapperspb.String("ten bytes.")
	m, err := texts.Message(event)
	if err != nil {
		t.Fatal(err)
	}
	box := discard{}
	for name, test := range map[string]struct {
		call func() error
		want float64
	}{
		"Message": {func() error { _, err := texts.Message(event); return err }, 4}, // message, key, value, ID
		"Publish": {func() error { return texts.Publish(t.Context(), box, event) }, 4},
		"Decode":  {func() error { _, err := texts.Decode(m); return err }, 2}, // event, its string
	} {
		var failed error
		if got := testing.AllocsPerRun(1000, func() { failed = errors.Join(failed, test.call()) }); got > test.want || failed != nil {
			t.Errorf("%s allocates %v times, want %v (%v)", name, got, test.want, failed)
		}
	}
}

type discard struct{}

func (discard) Publish(context.Context, ...*pubsub.Message) error { return nil }
