package kafka_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// Lag, window and rebalances are there for metrics. What a member has given away
// it does not show any more.
func TestStates(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	b := newBroker(t, addrs, kafka.WithAutoCreate(2, 1))
	state := func() (one, all pubsub.SubscriptionState) {
		for _, s := range pubsub.Subscriptions() {
			if s.Topic == topic {
				if one.Topic == "" {
					one = s // Subscriptions sorts by age
				}
				all.Handled += s.Handled
				all.Partitions = append(all.Partitions, s.Partitions...)
			}
		}
		return one, all
	}
	l := newLedger()
	letGo := make(chan struct{})
	first := joined(t, b, topic, "g", func(ctx context.Context, d *pubsub.Delivery) error {
		if string(d.Value) == "0" {
			<-letGo
		}
		return l.handle(ctx, d)
	})
	if err := b.Publish(t.Context(), numbered(topic, 0, 50, 10)...); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "all but one key to be handled", func() bool { s, _ := state(); return s.Handled == 45 && s.Lag() == 5 && s.Running == 1 }) // key0 waits
	s, _ := state()
	if s.Rebalances < 1 || len(s.Partitions) != 2 || s.Partitions[0].Partition != 0 || s.Partitions[1].Partition != 1 {
		t.Errorf("state %+v", s)
	}
	close(letGo)
	wait.Until(t, "the key to be handled", func() bool { s, _ := state(); return s.Lag() == 0 && s.Running == 0 })

	joined(t, b, topic, "g", l.handle)
	wait.Until(t, "the members to share the partitions", func() bool {
		one, all := state()
		return len(one.Partitions) == 1 && len(all.Partitions) == 2 && one.Rebalances > s.Rebalances
	})
	first.leave()
	wait.Until(t, "the one that is left to have both", func() bool { one, all := state(); return len(one.Partitions) == 2 && len(all.Partitions) == 2 })
	l.await(t, 50)
}

// That a partition stands still is logged once, however long it does, and not by
// a watchdog that only looks again.
func TestStandstillIsLogged(t *testing.T) {
	t.Parallel()
	const after = 50 * time.Millisecond
	addrs, topic := cluster(t)
	b := newBroker(t, addrs, kafka.WithAutoCreate(1, 1))
	l := newLedger()
	var logged wait.Log
	cured := make(chan struct{})
	joined(t, b, topic, "g", func(ctx context.Context, d *pubsub.Delivery) error {
		if string(d.Value) == "0" {
			<-cured
		}
		return l.handle(ctx, d)
	}, pubsub.WithWindow(5), pubsub.WithStallAfter(after), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	if err := b.Publish(t.Context(), numbered(topic, 0, 10, 10)...); err != nil {
		t.Fatal(err)
	}
	// Before the window was full it may have stood still, and gone on, on a machine
	// that is slow.
	stands, goesOn := func() int { return strings.Count(logged.String(), "stands still") }, func() int { return strings.Count(logged.String(), "goes on") }
	blocked := func(d time.Duration) bool {
		s := stateOf(topic)
		return len(s.Partitions) == 1 && s.Partitions[0].Blocked > d
	}
	wait.Until(t, "the log to say that the partition stands still", func() bool { return blocked(10*after) && stands() == goesOn()+1 })
	before := stands()
	wait.Until(t, "the watchdog to look again", func() bool { return blocked(20 * after) })
	if n := stands(); n != before {
		t.Errorf("it is logged %d times more:\n%s", n-before, logged.String())
	}
	close(cured)
	l.await(t, 10)
	wait.Until(t, "the log to say that the partition goes on", func() bool { return goesOn() >= before && goesOn() == stands() })
}

// A partition of which the brokers tell nothing is stalled, whatever its lag may be.
func TestSilenceIsSeen(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	topic := "silence"
	l := newLedger()
	var logged wait.Log
	joined(t, b, topic, "g", l.handle, pubsub.WithStallAfter(2*time.Second), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	stalled := func() bool {
		for _, s := range pubsub.Subscriptions() {
			if s.Topic == topic && len(s.Partitions) == 1 {
				return s.Partitions[0].Stalled
			}
		}
		return false
	}
	fault := k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownServerError, Count: -1})
	if err := b.Publish(t.Context(), numbered(topic, 0, 1, 1)...); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the partition to be stalled", stalled)
	fault.Remove()
	l.await(t, 1)
	wait.Until(t, "the partition to go on", func() bool { return !stalled() })
	for _, want := range []string{"the broker does not answer", "partition goes on"} {
		if n := strings.Count(logged.String(), want); n != 1 {
			t.Errorf("it is logged %d times that %q:\n%s", n, want, logged.String())
		}
	}
}

// Bytes bound what a partition holds, too.
func TestLargeMessagesAreNotAllFetched(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	b := newBroker(t, addrs, kafka.WithAutoCreate(1, 1))
	var logged wait.Log
	cured := make(chan struct{})
	handled := make(chan struct{}, 40)
	joined(t, b, topic, "g", func(context.Context, *pubsub.Delivery) error {
		<-cured
		handled <- struct{}{}
		return nil
	}, pubsub.WithConcurrency(1), pubsub.WithStallAfter(50*time.Millisecond), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	large := strings.Repeat("x", 1_000_000)
	for range 40 {
		if err := b.Publish(t.Context(), message(topic, "", large)); err != nil {
			t.Fatal(err)
		}
	}
	wait.Until(t, "the partition to be blocked, though its window is not full", func() bool {
		s := stateOf(topic)
		return len(s.Partitions) == 1 && s.Partitions[0].Blocked > 0
	})
	if n := stateOf(topic).Partitions[0].Pending; n < 16 || n > 18 { // 16 MiB, and the response that went beyond them
		t.Errorf("%d messages of a megabyte are in memory", n)
	}
	wait.Until(t, "the log to say that the partition stands still", logged.Has("partition stands still"))
	close(cured)
	for range 40 {
		receive(t, handled)
	}
}
