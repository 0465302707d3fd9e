package inbox_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

// statesOf returns those of the subscriptions of a topic, the oldest first.
func statesOf(topic string) (states []pubsub.SubscriptionState) {
	for _, s := range pubsub.Subscriptions() {
		if s.Topic == topic {
			states = append(states, s)
		}
	}
	return states
}

// A member tells what it has in hand, and that it stands still; the publisher tells
// what waits for the group.
func TestStates(t *testing.T) {
	t.Parallel()
	const topic = "inbox-test-states"
	reg := newRegistry(t)
	letGo := make(chan struct{})
	var logged wait.Log
	subscribe(t, newBroker(t, reg), topic, "g", func(ctx context.Context, _ *pubsub.Delivery) error {
		select {
		case <-letGo:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, pubsub.WithStallAfter(100*time.Millisecond), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	b := newBroker(t, reg)
	for range 5 { // of one key: one of them is with the member
		if err := b.Publish(t.Context(), &pubsub.Message{Topic: topic, Key: []byte("k")}); err != nil {
			t.Fatal(err)
		}
	}
	wait.Until(t, "one in the member's hand, which is stalled, and five with the publisher", func() bool {
		s := statesOf(topic)
		if len(s) != 2 || len(s[0].Partitions) != 1 || len(s[1].Partitions) != 1 {
			return false
		}
		member, publisher := s[0].Partitions[0], s[1].Partitions[0]
		return s[0].Group == "g" && s[1].Group == "g" && member.Stalled && member.Lag() == 1 && publisher.Lag() == 5 && publisher.Standing > 0
	})
	wait.Until(t, "the log to say why", func() bool { return strings.Contains(logged.String(), "no message comes to an end") })
	close(letGo)
	wait.Until(t, "nothing to be left", func() bool {
		s := statesOf(topic)
		return len(s) == 2 && s[0].Lag() == 0 && s[1].Lag() == 0 && s[0].Handled == 5 && !s[0].Partitions[0].Stalled
	})
	wait.Until(t, "the log to say that it goes on", func() bool { return strings.Contains(logged.String(), "partition goes on") })
}

// refusing is a registry that registers nobody for a while.
type refusing struct {
	resolver.Registry

	refuses atomic.Bool
}

func (r *refusing) Register(ctx context.Context, insts ...*resolver.Instance) (resolver.Registration, error) {
	if r.refuses.Load() {
		return nil, errors.New("not now")
	}
	return r.Registry.Register(ctx, insts...)
}

// A member that cannot register gets nothing, and says so.
func TestNotRegistered(t *testing.T) {
	t.Parallel()
	const topic = "inbox-test-not-registered"
	reg := &refusing{Registry: newRegistry(t)}
	reg.refuses.Store(true)
	b := newBroker(t, reg)
	var logged wait.Log
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- b.Subscribe(ctx, topic, "g", newRecord().handle, pubsub.WithStallAfter(100*time.Millisecond),
			pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	}()
	wait.Until(t, "the state to say so", func() bool {
		s := statesOf(topic)
		return len(s) == 1 && s[0].Unassigned > 100*time.Millisecond
	})
	wait.Until(t, "the log to say so", func() bool { return strings.Contains(logged.String(), "it is not told its partitions") })
	reg.refuses.Store(false)
	wait.Until(t, "it to be registered", func() bool { s := statesOf(topic); return s[0].Unassigned == 0 && len(s[0].Partitions) == 1 })
	wait.Until(t, "the log to say so", func() bool { return strings.Contains(logged.String(), "subscription goes on") })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
