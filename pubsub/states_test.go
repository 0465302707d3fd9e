package pubsub_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
)

// state returns that of the only subscription of a topic, or the zero one.
func state(topic string) pubsub.SubscriptionState {
	for _, s := range pubsub.Subscriptions() {
		if s.Topic == topic {
			return s
		}
	}
	return pubsub.SubscriptionState{}
}

// untilState waits until the state is as it should be. A handled message counts
// before its partition has noted that it is finished: ask for both.
func untilState(t *testing.T, topic string, good func(pubsub.SubscriptionState) bool) (s pubsub.SubscriptionState) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the state is %+v", s)
		}
	}()
	wait.Until(t, "the state", func() bool {
		s = state(topic)
		return good(s)
	})
	return s
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	broker := pubsub.NewMemory(pubsub.WithPartitions(1))
	defer broker.Close(context.WithoutCancel(t.Context()))
	publish := func(values ...string) {
		t.Helper()
		for _, v := range values {
			if err := broker.Publish(t.Context(), &pubsub.Message{Topic: "states", Key: []byte(v), Value: []byte(v)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	letGo := make(chan struct{})
	handle := func(_ context.Context, d *pubsub.Delivery) error {
		switch string(d.Value) {
		case "slow":
			<-letGo
		case "bad":
			return errors.New("bad")
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	before := time.Now()
	go func() {
		ended <- broker.Subscribe(ctx, "states", "g", handle, pubsub.WithDeadLetter(), pubsub.WithWindow(5), pubsub.WithSubscribeLogger(silent),
			pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 3, InitialBackoff: time.Millisecond}))
	}()
	publish("a", "b", "bad", "slow", "c", "d")
	s := untilState(t, "states", func(s pubsub.SubscriptionState) bool {
		return s.Handled == 5 && s.Running == 1 && len(s.Partitions) == 1 && s.Partitions[0].Pending == 1 && s.Partitions[0].Standing > 0
	})
	if s.Group != "g" || s.Since.Before(before) || s.Retries != 2 || s.DeadLetters != 1 || s.Undelivered != 0 || s.Rebalances != 1 || s.Lag() != 1 {
		t.Errorf("state %+v, lag %d", s, s.Lag())
	}
	p := s.Partitions[0]
	p.Standing = 0
	if want := (pubsub.PartitionState{Next: 3, Fetched: 6, End: 6, Pending: 1}); p != want || p.Window() != 3 || p.Lag() != 1 {
		t.Errorf("partition %+v, window %d, lag %d, want %+v", p, p.Window(), p.Lag(), want)
	}

	publish("e", "f", "g", "h") // two more than fit into the window
	s = untilState(t, "states", func(s pubsub.SubscriptionState) bool {
		return s.Handled == 7 && s.Partitions[0].Pending == 1 && s.Partitions[0].Blocked > 0
	})
	if p := s.Partitions[0]; p.Window() != 5 || s.Lag() != 3 || p.End != 10 {
		t.Errorf("partition %+v, window %d, lag %d", p, p.Window(), s.Lag())
	}

	close(letGo)
	s = untilState(t, "states", func(s pubsub.SubscriptionState) bool {
		return s.Handled == 10 && s.Running == 0 && s.Partitions[0].Pending == 0
	})
	if p := s.Partitions[0]; s.Lag() != 0 || p.Next != 10 || p.Window() != 0 || p.Blocked != 0 {
		t.Errorf("partition %+v, window %d, lag %d", p, p.Window(), s.Lag())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s := state("states"); s.Topic != "" {
		t.Errorf("it has ended, and is there: %+v", s)
	}
}

func TestLagUnknown(t *testing.T) {
	t.Parallel()
	s := pubsub.SubscriptionState{Partitions: []pubsub.PartitionState{{End: -1, Next: 7, Fetched: 7}, {End: 10, Next: 5, Fetched: 8, Pending: 2}}}
	if got := s.Partitions[0].Lag(); got != -1 {
		t.Errorf("lag %d, want -1", got)
	}
	if got := s.Lag(); got != 4 {
		t.Errorf("lag %d, want 4", got)
	}
}
