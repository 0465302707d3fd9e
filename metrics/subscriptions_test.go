package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/metrics"
	"github.com/grpc-micro/micro/pubsub"
)

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	c := metrics.NewSubscriptionCollector()
	broker := pubsub.NewMemory(pubsub.WithPartitions(2))
	letGo, ended := make(chan struct{}), make(chan error, 4)
	ctx, stop := context.WithCancel(t.Context())
	quiet := pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler))
	handle := func(_ context.Context, d *pubsub.Delivery) error {
		switch string(d.Value) {
		case "stuck":
			<-letGo
		case "bad":
			return errors.New("bad")
		}
		return nil
	}
	for range 2 { // two members of a group
		go func() {
			ended <- broker.Subscribe(ctx, "shown", "g", handle, quiet, pubsub.WithDeadLetter(), pubsub.WithWindow(7), pubsub.WithStallAfter(10*time.Millisecond),
				pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 3, InitialBackoff: time.Millisecond}), pubsub.WithUnorderedRetry(time.Millisecond))
		}()
	}
	var gate pubsub.Gate
	gate.Pause()
	for range 2 { // and two that each see all, but are paused
		go func() {
			ended <- broker.Subscribe(ctx, "shown", "", func(context.Context, *pubsub.Delivery) error { return nil }, quiet, pubsub.WithGate(&gate))
		}()
	}
	wait.Until(t, "members", func() bool {
		return has(c, `micro_subscription_members{group="g",topic="shown"} 2`) && has(c, `micro_subscription_members{group="",topic="shown"} 2`)
	})
	for i, value := range []string{"good", "bad", "stuck"} {
		if err := broker.Publish(t.Context(), &pubsub.Message{Topic: "shown", Key: []byte(fmt.Sprint(i)), Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{
		`micro_subscription_paused{group="g",topic="shown"} 0`,
		`micro_subscription_paused{group="",topic="shown"} 2`,
		`micro_subscription_running{group="g",topic="shown"} 1`,
		`micro_subscription_window{group="g",topic="shown"} 7`,
		`micro_subscription_handled_total{group="g",topic="shown"} 2`,
		`micro_subscription_retries_total{group="g",topic="shown"} 2`,
		`micro_subscription_delayed_total{group="g",topic="shown"} 1`,
		`micro_subscription_undelivered_total{group="g",topic="shown"} 0`,
		`micro_subscription_unassigned_seconds{group="g",topic="shown"} 0`,
		`micro_subscription_dead_letters_total{group="shown.g.retry.1ms",topic="shown.g.retry.1ms"} 1`,
	} {
		wait.Until(t, line, func() bool { return has(c, line) })
	}
	stuck := 0
	if has(c, `micro_partition_pending{group="g",partition="1",topic="shown"} 1`) {
		stuck = 1
	}
	for _, name := range []string{"lag", "window_used", "stalled"} {
		line := fmt.Sprintf(`micro_partition_%s{group="g",partition="%d",topic="shown"} 1`, name, stuck)
		wait.Until(t, line, func() bool { return has(c, line) })
	}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("problems %v, %v", problems, err)
	}
	close(letGo)
	gate.Resume()
	for p := range 2 {
		line := fmt.Sprintf(`micro_partition_lag{group="g",partition="%d",topic="shown"} 0`, p)
		wait.Until(t, line, func() bool { return has(c, line) })
	}
	stop()
	for range 4 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if has(c, `micro_subscription_members{group="g",topic="shown"} 2`) {
		t.Error("it has ended, and is shown")
	}
}
