package pubsub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/grpc-micro/micro/codec"
)

// Topic is a topic of events of type T: its name, and how an event becomes a
// message and back. It is a value; declare it once, as a package variable:
//
//	var Greeted = pubsub.NewTopic[greeterv1.Greeted]("greeter.greeted",
//		pubsub.WithKey(func(m *greeterv1.Greeted) string { return m.GetName() }))
//
// T is a struct, and never a pointer: a generated proto message, or a plain
// struct, which travels as JSON. A mistake in the declaration is reported by
// each use. Safe for concurrent use.
type Topic[T any] struct{ spec *spec[T] }

// NewTopic declares a topic.
func NewTopic[T any](name string, opts ...TopicOption) Topic[T] {
	return Topic[T]{&spec[T]{name: name, opts: slices.Clone(opts)}}
}

// Name returns the topic's name.
func (t Topic[T]) Name() string {
	if t.spec == nil {
		return ""
	}
	return t.spec.name
}

// Message returns the message that [Topic.Publish] sends for v: for batches, an
// outbox, and tests. Its ID and its time are set, so publishing it again later
// is the same event.
func (t Topic[T]) Message(v *T, opts ...PublishOption) (*Message, error) {
	d, err := t.draft(v, opts)
	if err != nil {
		return nil, err
	}
	return &d.Message, nil
}

// Publish publishes v and blocks until the broker has it, ctx ends, or the
// broker refuses. Its error is a [PublishError].
func (t Topic[T]) Publish(ctx context.Context, p Publisher, v *T, opts ...PublishOption) error {
	d, err := t.draft(v, opts)
	if err == nil && p == nil {
		err = fmt.Errorf("pubsub: publish to %s: nil Publisher", t.Name())
	}
	if err != nil {
		return &PublishError{[]error{&outcome{ErrRejected, err}}}
	}
	d.one[0] = &d.Message
	return p.Publish(ctx, d.one[:]...)
}

// Decode returns the event in m, by m's content type, or by the topic's codec
// if m has none. Its errors, for a tombstone too, wrap [ErrDecode].
func (t Topic[T]) Decode(m *Message) (*T, error) {
	s, err := t.resolve()
	if err != nil {
		return nil, err
	}
	return s.decode(m)
}

// Subscribe hands the events of the topic to fn, as a member of group, until
// ctx ends; see [Subscriber]. What does not decode never reaches fn: it is a
// [Permanent] failure. A tombstone is one too, unless there is WithTombstones.
// fn finds the message in [DeliveryFrom]. opts win over those of the topic.
func (t Topic[T]) Subscribe(ctx context.Context, b Subscriber, group string, fn func(context.Context, *T) error, opts ...SubscribeOption) error {
	s, err := t.resolve()
	switch {
	case err != nil:
		return err
	case b == nil:
		return fmt.Errorf("pubsub: subscribe to %s: nil Subscriber", s.name)
	case fn == nil:
		return fmt.Errorf("pubsub: subscribe to %s: nil handler", s.name)
	}
	h := func(ctx context.Context, d *Delivery) error {
		v, err := s.decode(d.Message)
		if err != nil {
			return Permanent(err)
		}
		return fn(context.WithValue(ctx, deliveryKey{}, d), v)
	}
	return b.Subscribe(ctx, s.name, group, h, slices.Concat(s.subscribe, opts)...)
}

// DeliveryFrom returns the delivery that the handler of a typed subscription
// was called for, or nil elsewhere.
func DeliveryFrom(ctx context.Context) *Delivery {
	d, _ := ctx.Value(deliveryKey{}).(*Delivery)
	return d
}

type deliveryKey struct{}

// draft is a message in the making, in one allocation with what Publish needs, and
// with the key and the value of a small event.
type draft struct {
	Message

	codec  codec.Codec
	one    [1]*Message
	memory [144]byte
}

func (t Topic[T]) draft(v *T, opts []PublishOption) (*draft, error) {
	s, err := t.resolve()
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("pubsub: publish to %s: nil event: a tombstone is a Message without a Value", s.name)
	}
	d := &draft{codec: s.codec, Message: Message{Type: s.typ, Source: s.source, Topic: s.name}}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("pubsub: nil PublishOption")
		}
		opt.applyPublish(d)
	}
	if d.codec == nil {
		return nil, fmt.Errorf("pubsub: publish to %s: nil codec", s.name)
	}
	memory := d.memory[:0]
	if s.key != nil {
		switch key := s.key(v); {
		case key == "":
		case len(key) <= len(d.memory):
			n := copy(d.memory[:], key)
			d.Key, memory = d.memory[:n:n], d.memory[n:n]
		default:
			d.Key = []byte(key)
		}
	}
	if d.Value, err = d.codec.Append(memory, v); err != nil {
		return nil, fmt.Errorf("pubsub: publish to %s: %w", s.name, err)
	}
	if d.Value == nil {
		d.Value = []byte{} // an event without fields, not a tombstone
	}
	d.ContentType = contentType(d.codec)
	if d.Time.IsZero() {
		d.Time = time.Now().Round(0)
	}
	if d.ID == "" {
		d.ID = newID(d.Time)
	}
	return d, d.checkRest() // its topic is right
}
