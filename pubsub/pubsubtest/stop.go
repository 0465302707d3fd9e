package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

// WithLimit: so many messages are handled and no more, and what was fetched
// beyond them is still there.
func limit(s *suite) {
	for i := range 10 {
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	r := newRecord()
	sub := s.subscribe(s.group, r.handle, pubsub.WithLimit(3))
	if err := sub.wait(); err != nil {
		s.Fatalf("Subscribe returned %v at its limit", err)
	}
	if n := len(r.all()); n != 3 {
		s.Errorf("%d messages were handled, want 3", n)
	}
	s.subscribe(s.group, r.handle)
	s.await(r, 10)
	s.exactly(r, numbers("v", 10))
}

// held is a subscription whose handlers wait to be let go.
func (s *suite) held(r *record, opts ...pubsub.SubscribeOption) (sub *subscription, letGo chan struct{}) {
	letGo = make(chan struct{})
	return s.subscribe(s.group, func(ctx context.Context, d *pubsub.Delivery) error {
		r.add(d)
		select {
		case <-letGo:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, opts...), letGo
}

// What handlers have in hand when the subscription is told to stop, they
// finish, and it is not delivered again.
func drain(s *suite) {
	r := newRecord()
	sub, letGo := s.held(r, pubsub.WithConcurrency(2))
	for i := range 10 {
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	s.await(r, 2)
	sub.cancel()
	select {
	case <-sub.ended:
		s.Fatal("Subscribe did not wait for its handlers")
	default:
	}
	close(letGo)
	if err := sub.wait(); err != nil {
		s.Fatalf("Subscribe returned %v", err)
	}
	s.subscribe(s.group, r.handle)
	s.await(r, 10)
	s.exactly(r, numbers("v", 10))
}

// What they have not finished at the drain deadline is delivered again.
func drainTimeout(s *suite) {
	r := newRecord()
	sub, _ := s.held(r, pubsub.WithDrainTimeout(50*time.Millisecond))
	s.publish(s.message("k", "v"))
	s.await(r, 1)
	began := time.Now()
	sub.stop()
	if took := time.Since(began); took > 10*time.Second {
		s.Errorf("the drain took %v", took)
	}
	s.subscribe(s.group, r.handle)
	if again := s.await(r, 2)[1]; string(again.Value) != "v" {
		s.Errorf("got %q again", again.Value)
	}
}

// A message in backoff does not hold up a drain, and is not lost by it.
func drainInBackoff(s *suite) {
	r := newRecord()
	sub := s.subscribe(s.group, func(_ context.Context, d *pubsub.Delivery) error {
		r.add(d)
		return errors.New("later")
	}, pubsub.WithRetry(pubsub.RetryPolicy{InitialBackoff: time.Hour, MaxBackoff: time.Hour}), pubsub.WithDrainTimeout(time.Hour))
	s.publish(s.message("k", "v"))
	s.await(r, 1)
	sub.stop()
	s.subscribe(s.group, r.handle)
	s.await(r, 2)
}

// A full window stops the partition, and nothing is lost when it moves again.
func window(s *suite) {
	letGo := make(chan struct{})
	r := newRecord()
	for i := range 50 {
		s.publish(s.message("k", fmt.Sprint("v", i)))
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("v", 50+i)))
	}
	s.subscribe(s.group, func(ctx context.Context, d *pubsub.Delivery) error {
		if string(d.Value) == "v0" {
			select {
			case <-letGo:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		r.add(d)
		return nil
	}, pubsub.WithWindow(4))
	s.until(r, "other keys", func(got []pubsub.Delivery) bool { return len(got) > 0 })
	close(letGo)
	s.await(r, 100)
	s.exactly(r, numbers("v", 100))
}

// Nothing is published, ever: that does not keep a subscription from ending.
func stopIdle(s *suite) {
	for _, group := range []string{s.group, ""} {
		s.subscribe(group, newRecord().handle).stop()
	}
}
