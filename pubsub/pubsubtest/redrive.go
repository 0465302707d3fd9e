package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grpc-micro/micro/pubsub"
)

// Dead letters go back to the group that gave them up, and to no other; those
// that fail again stay for the next run.
func redrive(s *suite) {
	const n = 5
	var cured atomic.Bool
	failed, handled, others := newRecord(), newRecord(), newRecord()
	s.subscribe(s.group, func(_ context.Context, d *pubsub.Delivery) error {
		if !cured.Load() {
			failed.add(d)
			return pubsub.Permanent(errors.New("not mended yet"))
		}
		handled.add(d)
		return nil
	}, pubsub.WithDeadLetter())
	s.subscribe(s.group+"-other", others.handle)
	published := make(map[string]*pubsub.Message)
	for i := range n {
		m := s.message(fmt.Sprint("k", i%2), fmt.Sprint("v", i))
		m.Type, m.Header = "t", pubsub.Header{{Key: "a", Value: []byte("1")}}
		s.publish(m)
		published[m.ID] = m
	}
	dead := s.topic + "." + s.group + ".dead"
	run := func(want int) int {
		s.Helper()
		got := 0
		for again := true; again; { // one that sees nothing for 2 s has ended, though it was the machine that slept
			n, err := pubsub.Redrive(s.ctx, s.b, dead, pubsub.WithRedriveIdle(2*time.Second), pubsub.WithRedriveLogger(slog.New(slog.DiscardHandler)))
			if err != nil {
				s.Fatal(err)
			}
			got += n
			again = got < want
		}
		return got
	}
	s.await(failed, n)
	s.buried(dead, n)
	if got := run(n); got != n {
		s.Errorf("%d dead letters went back, want %d", got, n)
	}
	s.await(failed, 2*n)
	s.buried(dead, 2*n)
	cured.Store(true)
	if got := run(n); got != n {
		s.Errorf("%d dead letters went back when it was mended, want %d", got, n)
	}
	for _, d := range s.await(handled, n) {
		if diff := cmp.Diff(published[d.ID], d.Message, cmpopts.IgnoreFields(pubsub.Message{}, "Header")); diff != "" {
			s.Errorf("published (-) and redriven (+): %s", diff)
		}
		if _, ok := pubsub.DeadLetterOf(d.Message); ok || string(d.Header.Get("a")) != "1" {
			s.Errorf("redriven with header %q", d.Header)
		}
	}
	if got := run(0); got != 0 {
		s.Errorf("%d dead letters went back that are none any more", got)
	}
	s.exactly(handled, numbers("v", n))
	s.inOrderOfKeys(handled)
	s.await(others, n)
	s.exactly(others, numbers("v", n))
}

// buried waits until n messages are in a dead-letter topic.
func (s *suite) buried(topic string, n int) {
	s.Helper()
	r := newRecord()
	sub := s.start(func(ctx context.Context, opts ...pubsub.SubscribeOption) error {
		return s.b.Subscribe(ctx, topic, "", r.handle, opts...)
	}, pubsub.WithStart(pubsub.First))
	s.await(r, n)
	sub.stop()
}

// inOrderOfKeys checks that the values of each key came in ascending order.
func (s *suite) inOrderOfKeys(r *record) {
	s.Helper()
	last := make(map[string]string)
	for _, d := range r.all() {
		if before, value := last[string(d.Key)], string(d.Value); value < before {
			s.Errorf("key %s: %s came after %s", d.Key, value, before)
		} else {
			last[string(d.Key)] = value
		}
	}
}
