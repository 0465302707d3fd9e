package pubsubtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-micro/micro/pubsub"
)

// A message that fails comes again from one retry topic after the other, as it
// was, not before the delay is over, and then is a dead letter; its key goes on
// meanwhile. What fails for good does not take that way.
func unorderedRetry(s *suite) {
	delays := []time.Duration{500 * time.Millisecond, 700 * time.Millisecond}
	r := newRecord()
	var mu sync.Mutex
	at := make(map[string][]time.Time)
	good := make(chan struct{})
	goesOn := sync.OnceFunc(func() { close(good) })
	s.subscribe(s.group, func(_ context.Context, d *pubsub.Delivery) error {
		mu.Lock()
		at[string(d.Value)] = append(at[string(d.Value)], time.Now())
		mu.Unlock()
		r.add(d)
		if d.Attempt > 2 { // the key does not need it to go on
			select {
			case <-good:
			case <-s.ctx.Done():
				s.Error("the key has waited for the delay")
			}
		}
		switch {
		case string(d.Value) == "good":
			goesOn()
		case string(d.Value) == "permanent":
			return pubsub.Permanent(errors.New("cannot ever work"))
		case string(d.Value) == "bad", string(d.Value) == "late" && d.Attempt < 3:
			return errors.New("not yet")
		}
		return nil
	}, pubsub.WithDeadLetterTopic(s.topic+".aside"), pubsub.WithUnorderedRetry(delays...),
		pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 2, InitialBackoff: time.Millisecond}))
	bad, late := s.message("k", "bad"), s.message("k", "late")
	bad.Type, bad.Header = "t", pubsub.Header{{Key: "a", Value: []byte("1")}}
	s.publish(bad, late, s.message("k", "good"))
	letter := s.dead(s.topic+".aside", bad)
	if letter.Attempts != 4 || letter.Group != s.group || !strings.Contains(letter.Cause, "not yet") {
		s.Errorf("dead letter %+v", letter)
	}
	s.await(r, 8)
	s.exactly(r, []string{"bad", "bad", "bad", "bad", "good", "late", "late", "late"})

	var first pubsub.Delivery
	attempt := 0
	for _, d := range r.all() {
		if string(d.Value) != "bad" {
			continue
		}
		if attempt++; attempt == 1 {
			first = d
		}
		if diff := cmp.Diff(bad, d.Message); diff != "" || d.Attempt != attempt || d.Group != first.Group || d.Partition != first.Partition || d.Offset != first.Offset {
			s.Errorf("try %d is %+v, the first was %+v; published (-) and delivered (+): %s", attempt, d, first, diff)
		}
	}
	if letter.Partition != first.Partition || letter.Offset != first.Offset {
		s.Errorf("the dead letter was at %d/%d, and is said to have been at %d/%d", first.Partition, first.Offset, letter.Partition, letter.Offset)
	}
	for i, delay := range delays {
		if waited := at["bad"][i+2].Sub(at["bad"][i+1]); waited < delay {
			s.Errorf("try %d came after %v, want %v", i+3, waited, delay)
		}
	}

	s.publish(s.message("k", "permanent"))
	s.buried(s.topic+".aside", 2)
	s.await(r, 9)
	s.exactly(r, []string{"bad", "bad", "bad", "bad", "good", "late", "late", "late", "permanent"})
}

// What waits in a retry topic waits for the next member, if need be, and no
// shorter and no longer for that.
func unorderedRetryOutlastsMember(s *suite) {
	const delay = 2 * time.Second
	r := newRecord()
	var failed, cured time.Time
	opts := []pubsub.SubscribeOption{
		pubsub.WithDeadLetter(), pubsub.WithUnorderedRetry(delay), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 1}),
	}
	sub := s.subscribe(s.group, func(_ context.Context, d *pubsub.Delivery) error {
		failed = time.Now()
		r.add(d)
		return errors.New("not yet")
	}, opts...)
	s.publish(s.message("k", "v"))
	s.await(r, 1)
	sub.stop() // with the message on its way into the retry topic, or there
	r = newRecord()
	sub = s.subscribe(s.group, func(_ context.Context, d *pubsub.Delivery) error {
		if d.Attempt == 1 {
			failed = time.Now()
			return errors.New("was not on its way yet")
		}
		cured = time.Now()
		r.add(d)
		return nil
	}, opts...)
	s.await(r, 1)
	sub.stop()
	if waited := cured.Sub(failed); waited < delay || waited > delay+20*time.Second {
		s.Errorf("it came again after %v, want %v", waited, delay)
	}
	s.exactly(r, []string{"v"})
}
