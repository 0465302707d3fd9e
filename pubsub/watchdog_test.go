package pubsub_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

// A subscription that is not told its partitions stands still, and the log says so
// once. What comes between two assignments, and no partitions at all, is no news.
func TestUnassigned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const topic = "unassigned"
		var logged bytes.Buffer
		broker := pubsub.NewMemory()
		defer broker.Close(t.Context())
		sub, err := pubsub.NewSubscription(broker, topic, "g", func(context.Context, *pubsub.Delivery) error { return nil },
			pubsub.WithStallAfter(time.Minute), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- sub.Run(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil })
		}()
		after := func(d time.Duration, unassigned bool, lines int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if s := state(topic); (s.Unassigned > 0) != unassigned || len(s.Partitions) != 0 {
				t.Errorf("state %+v, want it unassigned: %v", s, unassigned)
			}
			if n := strings.Count(logged.String(), "subscription "); n != lines {
				t.Errorf("%d lines, want %d:\n%s", n, lines, logged.String())
			}
		}
		none := func() []pubsub.PartitionState { return nil }
		after(time.Hour, false, 0) // a driver that does not tell
		sub.Rebalanced(nil)
		after(50*time.Second, true, 0)
		sub.Rebalanced(none)
		after(time.Hour, false, 0)
		sub.Rebalanced(nil)
		after(50*time.Second, true, 0)
		sub.Rebalanced(nil) // is the same standstill
		after(20*time.Second, true, 1)
		after(time.Hour, true, 1)
		sub.Rebalanced(none)
		after(5*time.Second, false, 2)
		if !strings.Contains(logged.String(), "subscription stands still") || !strings.Contains(logged.String(), "subscription goes on") {
			t.Errorf("the log says:\n%s", logged.String())
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
