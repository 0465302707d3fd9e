package pubsub_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-micro/micro/pubsub"
)

// bury returns the dead letter of a delivery whose handler fails.
func bury(t *testing.T, d *pubsub.Delivery, h pubsub.Handler) *pubsub.Message {
	t.Helper()
	box := &outbox{}
	sub := subscription(t, box, h, pubsub.WithDeadLetter(), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 1}))
	if after, err := sub.Handle(t.Context(), d); after != 0 || err != nil || len(box.msgs) != 1 {
		t.Fatalf("%v, %v, %d dead letters", after, err, len(box.msgs))
	}
	return box.msgs[0]
}

// A message that dies again tells of its last death, once.
func TestDeadAgain(t *testing.T) {
	t.Parallel()
	d := delivery()
	d.Header = pubsub.Header{{Key: "kept", Value: []byte("1")}, {Key: "kept", Value: []byte("2")}}
	first := bury(t, d, func(context.Context, *pubsub.Delivery) error { panic("first") })
	again := &pubsub.Delivery{Message: first, Group: "group", Offset: 9}
	second := bury(t, again, fails(errors.New("second")))
	letter, ok := pubsub.DeadLetterOf(second)
	letter.Time = letter.Time.Truncate(0)
	want := pubsub.DeadLetter{Topic: first.Topic, Group: "group", Offset: 9, Attempts: 1, Cause: "second", Time: letter.Time}
	if diff := cmp.Diff(want, letter); !ok || diff != "" {
		t.Error(diff)
	}
	if n := len(second.Header.Values("micro-dead-cause")); n != 1 || len(second.Header.Values("kept")) != 2 {
		t.Errorf("header: %q", second.Header)
	}
	if letter, _ := pubsub.DeadLetterOf(first); !strings.Contains(letter.Stack, "goroutine") {
		t.Error("the first dead letter was changed by the second")
	}
	if len(d.Header) != 2 {
		t.Errorf("the message was changed: %q", d.Header)
	}
}

// A huge error text does not make the dead letter too large to publish.
func TestDeadLetterIsBounded(t *testing.T) {
	t.Parallel()
	m := bury(t, delivery(), fails(errors.New(strings.Repeat("ü", 1<<20))))
	letter, _ := pubsub.DeadLetterOf(m)
	if n := len(letter.Cause); n < 1000 || n > 4096 || !utf8.ValidString(letter.Cause) {
		t.Errorf("the cause has %d bytes", n)
	}
}

func FuzzDeadLetterOf(f *testing.F) {
	f.Add("micro-dead-topic", []byte("t"), "micro-dead-offset", []byte("1"))
	f.Add("micro-dead-topic", []byte("t"), "micro-dead-time", []byte("x"))
	f.Fuzz(func(t *testing.T, k1 string, v1 []byte, k2 string, v2 []byte) {
		m := &pubsub.Message{Header: pubsub.Header{{Key: k1, Value: v1}, {Key: k2, Value: v2}}}
		if _, ok := pubsub.DeadLetterOf(m); ok && m.Header.Get("micro-dead-topic") == nil {
			t.Error("a dead letter of no topic")
		}
	})
}
