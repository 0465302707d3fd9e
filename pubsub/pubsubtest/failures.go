package pubsubtest

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/grpc-micro/micro/pubsub"
)

// A message that fails waits in its key's lane: later messages of the key come
// after it, and other keys do not wait for it.
func retryInLane(s *suite) {
	r := newRecord()
	var others atomic.Int32
	sub := s.subscribe(s.group, func(_ context.Context, d *pubsub.Delivery) error {
		r.add(d)
		switch {
		case string(d.Key) == "other":
			others.Add(1)
		case string(d.Value) == "first" && (others.Load() < 3 || d.Attempt < 3):
			return errors.New("not yet")
		}
		return nil
	}, pubsub.WithConcurrency(1))
	s.publish(s.message("k", "first"), s.message("k", "second"))
	s.publish(s.message("other", "1"), s.message("other", "2"), s.message("other", "3"))
	got := s.until(r, "the second message", func(got []pubsub.Delivery) bool {
		return len(got) > 0 && string(got[len(got)-1].Value) == "second"
	})
	sub.stop()
	attempt := 0
	for _, d := range got {
		if string(d.Value) != "first" {
			continue
		}
		if attempt++; d.Attempt != attempt {
			s.Errorf("attempt %d came as number %d", attempt, d.Attempt)
		}
	}
	if attempt < 3 {
		s.Errorf("the message was tried %d times, want 3 or more", attempt)
	}
}

// dead waits for the one dead letter in topic, which is to be the message.
func (s *suite) dead(topic string, want *pubsub.Message) pubsub.DeadLetter {
	s.Helper()
	r := newRecord()
	s.start(func(ctx context.Context, opts ...pubsub.SubscribeOption) error {
		return s.b.Subscribe(ctx, topic, s.group+"-dead", r.handle, opts...)
	})
	got := s.await(r, 1)[0]
	expect := *want
	expect.Topic = topic
	if diff := cmp.Diff(&expect, got.Message, cmpopts.IgnoreFields(pubsub.Message{}, "Header")); diff != "" {
		s.Errorf("published (-) and dead letter (+): %s", diff)
	}
	for i, a := range want.Header {
		if got.Header[i].Key != a.Key || !bytes.Equal(got.Header[i].Value, a.Value) {
			s.Errorf("the dead letter has lost header %s: %q", a.Key, got.Header)
		}
	}
	letter, ok := pubsub.DeadLetterOf(got.Message)
	if !ok {
		s.Fatalf("the dead letter has no headers: %q", got.Header)
	}
	if since := time.Since(letter.Time); letter.Topic != want.Topic || since < -time.Minute || since > time.Hour {
		s.Errorf("the dead letter is of %s at %v", letter.Topic, letter.Time)
	}
	return letter
}

func permanent(s *suite) {
	r := newRecord()
	sub := s.subscribe(s.group, func(_ context.Context, d *pubsub.Delivery) error {
		r.add(d)
		if string(d.Value) == "bad" {
			return pubsub.Permanent(errors.New("cannot ever work"))
		}
		return nil
	}, pubsub.WithDeadLetter())
	bad := s.message("k", "bad")
	bad.Type, bad.Source, bad.Subject, bad.ContentType = "t", "s", "u", "text/plain"
	bad.Header = pubsub.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}}
	s.publish(bad, s.message("k", "good"))
	got := s.await(r, 2)
	letter := s.dead(s.topic+"."+s.group+".dead", bad)
	if letter.Attempts != 1 || letter.Group != s.group || letter.Stack != "" ||
		letter.Partition != got[0].Partition || letter.Offset != got[0].Offset || !strings.Contains(letter.Cause, "cannot ever work") {
		s.Errorf("dead letter %+v of %+v", letter, got[0])
	}
	sub.stop()
	s.exactly(r, []string{"bad", "good"})

	// It counts as handled.
	s.subscribe(s.group, r.handle)
	s.publish(s.message("k", "next"))
	s.await(r, 3)
	s.exactly(r, []string{"bad", "good", "next"})
}

func attemptsUsedUp(s *suite) {
	r := newRecord()
	s.subscribe(s.group, func(_ context.Context, d *pubsub.Delivery) error {
		r.add(d)
		return errors.New("fails each time")
	}, pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 3, InitialBackoff: time.Millisecond}), pubsub.WithDeadLetterTopic(s.topic+".aside"))
	m := s.message("k", "v")
	s.publish(m)
	letter := s.dead(s.topic+".aside", m)
	if letter.Attempts != 3 || !strings.Contains(letter.Cause, "fails each time") {
		s.Errorf("dead letter %+v", letter)
	}
	s.exactly(r, []string{"v", "v", "v"})
}

func panics(s *suite) {
	r := newRecord()
	s.subscribe(s.group, func(_ context.Context, d *pubsub.Delivery) error {
		r.add(d)
		if string(d.Value) == "bad" {
			panic("this handler is broken")
		}
		return nil
	}, pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 2, InitialBackoff: time.Millisecond}), pubsub.WithDeadLetter())
	bad := s.message("k", "bad")
	s.publish(bad, s.message("k", "good"))
	s.await(r, 3)
	letter := s.dead(s.topic+"."+s.group+".dead", bad)
	if letter.Attempts != 2 || !strings.Contains(letter.Cause, "this handler is broken") || !strings.Contains(letter.Stack, "goroutine") {
		s.Errorf("dead letter %+v", letter)
	}
	s.exactly(r, []string{"bad", "bad", "good"})
}

func undecodable(s *suite) {
	topic := pubsub.NewTopic[wrapperspb.StringValue](s.topic, pubsub.WithDeadLetter())
	r := newRecord()
	s.start(func(ctx context.Context, opts ...pubsub.SubscribeOption) error {
		return topic.Subscribe(ctx, s.b, s.group, func(ctx context.Context, _ *wrapperspb.StringValue) error {
			r.add(pubsub.DeliveryFrom(ctx))
			return nil
		}, opts...)
	})
	bad := s.message("k", "\xff\xff\xff")
	bad.ContentType = "application/protobuf"
	s.publish(bad)
	if err := topic.Publish(s.ctx, s.b, wrapperspb.String("good")); err != nil {
		s.Fatal(err)
	}
	letter := s.dead(s.topic+"."+s.group+".dead", bad)
	if letter.Attempts != 1 || !strings.Contains(letter.Cause, "does not decode") {
		s.Errorf("dead letter %+v", letter)
	}
	s.await(r, 1)
}

// Without a dead-letter topic such an event ends the subscription, and is there
// again for the next one.
func undecodableEndsSubscription(s *suite) {
	topic := pubsub.NewTopic[wrapperspb.StringValue](s.topic)
	m := s.message("k", "v")
	m.ContentType = "application/x-unheard-of"
	s.publish(m)
	sub := s.start(func(ctx context.Context, opts ...pubsub.SubscribeOption) error {
		return topic.Subscribe(ctx, s.b, s.group, func(context.Context, *wrapperspb.StringValue) error {
			s.Error("the handler was called for an event that does not decode")
			return nil
		}, opts...)
	})
	if err := sub.wait(); !errors.Is(err, pubsub.ErrDecode) {
		s.Errorf("Subscribe returned %v, want %v", err, pubsub.ErrDecode)
	}
	r := newRecord()
	s.subscribe(s.group, r.handle)
	s.await(r, 1)
}

func noDeadLetter(s *suite) {
	cause := errors.New("cannot ever work")
	s.publish(s.message("k", "v"))
	sub := s.subscribe(s.group, func(context.Context, *pubsub.Delivery) error { return pubsub.Permanent(cause) })
	if err := sub.wait(); !errors.Is(err, cause) {
		s.Errorf("Subscribe returned %v, want %v", err, cause)
	}
	r := newRecord()
	s.subscribe(s.group, r.handle)
	s.await(r, 1)
}

// A handler that ends its goroutine, as FailNow of a test does, ends the
// subscription: it must not hang.
func goexit(s *suite) {
	s.publish(s.message("k", "v"))
	sub := s.subscribe(s.group, func(context.Context, *pubsub.Delivery) error {
		runtime.Goexit()
		return nil
	}, pubsub.WithDeadLetter())
	if err := sub.wait(); err == nil || !strings.Contains(err.Error(), "ended its goroutine") {
		s.Errorf("Subscribe returned %v", err)
	}
	r := newRecord()
	s.subscribe(s.group, r.handle)
	s.await(r, 1)
}

func broadcastDeadLetter(s *suite) {
	s.subscribe("", func(context.Context, *pubsub.Delivery) error { return pubsub.Permanent(errors.New("no")) }, pubsub.WithDeadLetter())
	m := s.message("k", "v")
	s.publish(m)
	if letter := s.dead(s.topic+".dead", m); letter.Group != "" {
		s.Errorf("dead letter %+v", letter)
	}
}
