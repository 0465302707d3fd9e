package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/grpc-micro/micro/pubsub"
)

// What was published before a group existed is delivered to it.
func publishThenSubscribe(s *suite) {
	var msgs []*pubsub.Message
	for i := range 50 {
		m := s.message(fmt.Sprint("k", i%7), fmt.Sprint("v", i))
		msgs = append(msgs, m)
		s.publish(m)
		if m.ID == "" || m.Time.IsZero() {
			s.Fatalf("Publish left ID %q and time %v", m.ID, m.Time)
		}
	}
	r := newRecord()
	sub := s.subscribe(s.group, r.handle)
	got := s.await(r, len(msgs))
	sub.stop()
	s.exactly(r, numbers("v", 50))
	byID := make(map[string]*pubsub.Message)
	for _, m := range msgs {
		byID[m.ID] = m
	}
	if len(byID) != len(msgs) {
		s.Errorf("%d messages have %d IDs", len(msgs), len(byID))
	}
	places := make(map[string]bool)
	for _, d := range got {
		if diff := cmp.Diff(byID[d.ID], d.Message); diff != "" {
			s.Fatalf("published (-) and delivered (+): %s", diff)
		}
		if d.Group != s.group || d.Attempt != 1 || d.Partition < 0 || d.Offset < 0 {
			s.Errorf("delivered as %+v", d)
		}
		places[fmt.Sprint(d.Partition, "/", d.Offset)] = true
	}
	if len(places) != len(msgs) {
		s.Errorf("%d messages are at %d places", len(msgs), len(places))
	}
}

// One call may hold messages of many keys; within a key their order stays.
func batch(s *suite) {
	r := newRecord()
	sub := s.subscribe(s.group, r.handle)
	var msgs []*pubsub.Message
	for i := range 300 {
		msgs = append(msgs, s.message(fmt.Sprint("k", i%10), fmt.Sprint(i)))
	}
	s.publish(msgs...)
	s.publish()
	got := s.await(r, len(msgs))
	sub.stop()
	s.exactly(r, numbers("", len(msgs)))
	s.inOrder(got)
}

func attributes(s *suite) {
	want := &pubsub.Message{
		ID:          "id with spaces, ümläuts",
		Type:        "greeter.v1.Greeted",
		Source:      "/greeter",
		Subject:     "somebody",
		Topic:       s.topic,
		ContentType: "application/protobuf",
		Key:         []byte{0, 0xff, 'k'},
		Value:       []byte{1, 0, 0xff},
		Time:        time.Date(2026, 11, 23, 8, 3, 0, 123456789, time.UTC),
	}
	sent := *want
	s.publish(&sent)
	r := newRecord()
	s.subscribe(s.group, r.handle)
	if diff := cmp.Diff(want, s.await(r, 1)[0].Message); diff != "" {
		s.Errorf("published (-) and delivered (+): %s", diff)
	}
}

// What was left out is not made up on the way, apart from ID and time.
func noAttributes(s *suite) {
	s.publish(&pubsub.Message{Topic: s.topic, Value: []byte("v")})
	r := newRecord()
	s.subscribe(s.group, r.handle)
	got := s.await(r, 1)[0].Message
	if diff := cmp.Diff(&pubsub.Message{ID: got.ID, Time: got.Time, Topic: s.topic, Value: []byte("v")}, got); diff != "" {
		s.Errorf("published (-) and delivered (+): %s", diff)
	}
}

func header(s *suite) {
	want := pubsub.Header{
		{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
		{Key: "repeated", Value: []byte("1")},
		{Key: "ce_extension", Value: []byte("x")},
		{Key: "repeated", Value: []byte("2")},
		{Key: "binary", Value: []byte{0, 0xff, 0x80}},
		{Key: "empty", Value: []byte{}},
		{Key: "Case", Value: []byte("kept")},
	}
	m := s.message("k", "v")
	m.Header = slices.Clone(want)
	s.publish(m)
	r := newRecord()
	s.subscribe(s.group, r.handle)
	got := s.await(r, 1)[0].Header
	if len(got) != len(want) {
		s.Fatalf("got %d attributes, want %d: %q", len(got), len(want), got)
	}
	for i := range want {
		if got[i].Key != want[i].Key || string(got[i].Value) != string(want[i].Value) {
			s.Errorf("attribute %d is %q, want %q", i, got[i], want[i])
		}
	}
}

// A nil Value is not an empty one.
func tombstoneAndEmpty(s *suite) {
	s.publish(
		&pubsub.Message{Topic: s.topic, Key: []byte("k"), Value: []byte{}},
		&pubsub.Message{Topic: s.topic, Key: []byte("k")})
	r := newRecord()
	s.subscribe(s.group, r.handle)
	got := s.await(r, 2)
	if got[0].Value == nil || len(got[0].Value) != 0 {
		s.Errorf("the empty event came as %v", got[0].Value)
	}
	if got[1].Value != nil {
		s.Errorf("the tombstone came as %v", got[1].Value)
	}
}

// A tombstone never comes as an event without fields.
func typedTombstone(s *suite) {
	topic := pubsub.NewTopic[wrapperspb.StringValue](s.topic)
	if err := topic.Publish(s.ctx, s.b, &wrapperspb.StringValue{}); err != nil {
		s.Fatal(err)
	}
	s.publish(&pubsub.Message{Topic: s.topic, Key: []byte("gone")})
	events, tombstones, dead := newRecord(), newRecord(), newRecord()
	typed := func(group string, opts ...pubsub.SubscribeOption) {
		s.start(func(ctx context.Context, opts ...pubsub.SubscribeOption) error {
			return topic.Subscribe(ctx, s.b, group, func(ctx context.Context, _ *wrapperspb.StringValue) error {
				events.add(pubsub.DeliveryFrom(ctx))
				return nil
			}, opts...)
		}, opts...)
	}
	typed(s.group, pubsub.WithTombstones(tombstones.handle))
	if got := s.await(tombstones, 1)[0]; string(got.Key) != "gone" {
		s.Errorf("got tombstone of %q", got.Key)
	}
	typed(s.group+"-other", pubsub.WithDeadLetter())
	s.topic += "." + s.group + "-other.dead"
	s.subscribe(s.group, dead.handle)
	if got := s.await(dead, 1)[0]; got.Value != nil || string(got.Key) != "gone" {
		s.Errorf("the dead letter is %+v", got.Message)
	}
	for _, d := range s.await(events, 2) {
		if d.Value == nil {
			s.Error("a tombstone came as an event")
		}
	}
}

func publishCancelled(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	results := s.publishFails(ctx, s.message("k", "1"), s.message("k", "2"))
	for i, err := range results {
		if !errors.Is(err, context.Canceled) || !errors.Is(err, pubsub.ErrNotSent) && !errors.Is(err, pubsub.ErrUnknown) {
			s.Errorf("result %d is %v, want not sent or unknown, for context.Canceled", i, err)
		}
	}
}

// publishFails returns the results of a Publish call that is to fail.
func (s *suite) publishFails(ctx context.Context, msgs ...*pubsub.Message) []error {
	s.Helper()
	err := s.b.Publish(ctx, msgs...)
	failure, ok := errors.AsType[*pubsub.PublishError](err)
	if !ok || len(failure.Results) != len(msgs) {
		s.Fatalf("Publish returned %v, want a PublishError with %d results", err, len(msgs))
	}
	return failure.Results
}

// A message that cannot be published is rejected, and those beside it not sent.
func publishInvalid(s *suite) {
	r := newRecord()
	s.subscribe(s.group, r.handle)
	for name, bad := range map[string]*pubsub.Message{
		"nil":             nil,
		"no topic":        {},
		"spaces":          {Topic: "a topic"},
		"slash":           {Topic: "a/b"},
		"dots":            {Topic: ".."},
		"long":            {Topic: strings.Repeat("t", 250)},
		"reserved header": {Topic: s.topic, Header: pubsub.Header{{Key: "ce_id", Value: []byte("1")}}},
		"empty header":    {Topic: s.topic, Header: pubsub.Header{{}}},
		"far future":      {Topic: s.topic, Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"before the era":  {Topic: s.topic, Time: time.Date(1, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600))},
	} {
		results := s.publishFails(s.ctx, s.message("k", "beside "+name), bad, s.message("k", "beside "+name))
		for i, want := range []error{pubsub.ErrNotSent, pubsub.ErrRejected, pubsub.ErrNotSent} {
			if !errors.Is(results[i], want) {
				s.Errorf("%s: result %d is %v, want %v", name, i, results[i], want)
			}
		}
	}
	s.publish(s.message("k", "good"))
	s.await(r, 1)
	s.exactly(r, []string{"good"})
}

func subscribeInvalid(s *suite) {
	handle := newRecord().handle
	for name, call := range map[string]func() error{
		"no topic":    func() error { return s.b.Subscribe(s.ctx, "", s.group, handle) },
		"bad topic":   func() error { return s.b.Subscribe(s.ctx, "a topic", s.group, handle) },
		"bad group":   func() error { return s.b.Subscribe(s.ctx, s.topic, "a group", handle) },
		"long group":  func() error { return s.b.Subscribe(s.ctx, s.topic, strings.Repeat("g", 250), handle) },
		"no handler":  func() error { return s.b.Subscribe(s.ctx, s.topic, s.group, nil) },
		"concurrency": func() error { return s.b.Subscribe(s.ctx, s.topic, s.group, handle, pubsub.WithConcurrency(0)) },
		"limit":       func() error { return s.b.Subscribe(s.ctx, s.topic, s.group, handle, pubsub.WithLimit(0)) },
		"dead letter": func() error {
			return s.b.Subscribe(s.ctx, s.topic, s.group, handle, pubsub.WithDeadLetterTopic(s.topic))
		},
	} {
		if err := call(); err == nil || !strings.HasPrefix(err.Error(), "pubsub: ") {
			s.Errorf("%s: got error %v", name, err)
		}
	}
}

func closed(s *suite) {
	s.publish(s.message("k", "v"))
	for range 2 {
		if err := s.b.Close(s.ctx); err != nil {
			s.Fatalf("Close: %v", err)
		}
	}
	for _, err := range s.publishFails(s.ctx, s.message("k", "v")) {
		if !errors.Is(err, pubsub.ErrClosed) || !errors.Is(err, pubsub.ErrNotSent) {
			s.Errorf("Publish after Close: %v", err)
		}
	}
	if err := s.b.Subscribe(s.ctx, s.topic, s.group, newRecord().handle); !errors.Is(err, pubsub.ErrClosed) {
		s.Errorf("Subscribe after Close: %v", err)
	}
}
