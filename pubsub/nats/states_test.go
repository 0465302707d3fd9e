package nats_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/nats"
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

// stateOf returns that of the only one.
func stateOf(topic string) pubsub.SubscriptionState {
	for _, s := range statesOf(topic) {
		return s
	}
	return pubsub.SubscriptionState{}
}

// held is a handler that waits to be let go.
func held(letGo <-chan struct{}) pubsub.Handler {
	return func(ctx context.Context, _ *pubsub.Delivery) error {
		select {
		case <-letGo:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func logTo(b *wait.Log) pubsub.SubscribeOption {
	return pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(b, nil)))
}

// The lag counts the messages of the partitions that the member has, and not the
// sequence numbers that all of them share.
func TestState(t *testing.T) {
	t.Parallel()
	addrs, topic := anywhere(t)
	b := openBroker(t, addrs)
	for i := range 100 {
		if err := b.Publish(t.Context(), &pubsub.Message{Topic: topic, Key: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	letGo := make(chan struct{})
	var logged wait.Log
	stop := subscribe(t, b, topic, "g", held(letGo), pubsub.WithWindow(2), pubsub.WithStallAfter(100*time.Millisecond), logTo(&logged))
	wait.Until(t, "a lag of 100 in 4 partitions that are stalled with full windows", func() bool {
		s := stateOf(topic)
		return len(s.Partitions) == 4 && s.Lag() == 100 &&
			!slices.ContainsFunc(s.Partitions, func(p pubsub.PartitionState) bool { return p.Blocked == 0 || !p.Stalled })
	})
	wait.Until(t, "the log to say why", logged.Has("its window is full (WithWindow)"))
	close(letGo)
	wait.Until(t, "no lag, and nothing stalled", func() bool {
		s := stateOf(topic)
		return s.Lag() == 0 && s.Handled == 100 && !slices.ContainsFunc(s.Partitions, func(p pubsub.PartitionState) bool { return p.Stalled || p.Silent > 0 })
	})
	wait.Until(t, "the log to say that it goes on", logged.Has("partition goes on"))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if len(statesOf(topic)) != 0 {
		t.Error("a subscription that has ended is still told of")
	}
}

// Each member tells the partitions that it has, and no others.
func TestStatesOfMembers(t *testing.T) {
	t.Parallel()
	addrs, topic := anywhere(t)
	b := openBroker(t, addrs)
	one := subscribe(t, b, topic, "g", newHandled().handle)
	wait.Until(t, "all partitions with one member", func() bool { return len(stateOf(topic).Partitions) == 4 })
	before := stateOf(topic).Rebalances
	subscribe(t, b, topic, "g", newHandled().handle)
	wait.Until(t, "half of them with each of two", func() bool {
		s := statesOf(topic)
		return len(s) == 2 && len(s[0].Partitions) == 2 && len(s[1].Partitions) == 2 && s[0].Partitions[0].Partition != s[1].Partitions[0].Partition
	})
	if s := statesOf(topic); before < 1 || s[0].Rebalances <= before || s[1].Rebalances < 1 || s[0].Unassigned != 0 || s[1].Unassigned != 0 {
		t.Errorf("after %d rebalances: %+v", before, s)
	}
	if err := one(); err != nil {
		t.Error(err)
	}
	wait.Until(t, "all of them with the one that is left", func() bool { return len(stateOf(topic).Partitions) == 4 })
}

// A partition of which the server tells nothing is stalled, whatever its lag may
// be; a member that is cut off for longer than the session timeout has no partition
// any more, and says that. Both go on when the server is back.
func TestSilenceIsSeen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		session time.Duration
		seen    func(pubsub.SubscriptionState) bool
		logged  string
	}{
		"silent": {time.Minute, func(s pubsub.SubscriptionState) bool {
			return len(s.Partitions) == 4 && !slices.ContainsFunc(s.Partitions, func(p pubsub.PartitionState) bool { return !p.Stalled || p.Silent == 0 })
		}, "the broker does not answer"},
		"cut off": {500 * time.Millisecond, func(s pubsub.SubscriptionState) bool {
			return s.Unassigned > time.Second && len(s.Partitions) == 0
		}, "it is not told its partitions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addrs, topic := anywhere(t)
			var way network
			b := openBroker(t, addrs, nats.WithSessionTimeout(tt.session), nats.WithClientOptions(natsgo.SetCustomDialer(&way)))
			h := newHandled()
			var logged wait.Log
			subscribe(t, b, topic, "g", h.handle, pubsub.WithStallAfter(time.Second), logTo(&logged))
			publish := func(n int) {
				t.Helper()
				if err := b.Publish(t.Context(), &pubsub.Message{Topic: topic, Key: []byte("k"), Value: fmt.Append(nil, n)}); err != nil {
					t.Fatal(err)
				}
			}
			publish(0)
			h.await(t, 1, 1)
			wait.Until(t, "all partitions", func() bool { return len(stateOf(topic).Partitions) == 4 })
			way.set(true)
			wait.Until(t, "the state to say so", func() bool { return tt.seen(stateOf(topic)) })
			wait.Until(t, "the log to say so", logged.Has(tt.logged))
			way.set(false)
			publish(1)
			h.await(t, 1, 2)
			wait.Until(t, "the log to say that it goes on", logged.Has(" goes on"))
			wait.Until(t, "the state to be well again", func() bool {
				s := stateOf(topic)
				return len(s.Partitions) == 4 && s.Unassigned == 0 && !slices.ContainsFunc(s.Partitions, func(p pubsub.PartitionState) bool { return p.Stalled })
			})
		})
	}
}
