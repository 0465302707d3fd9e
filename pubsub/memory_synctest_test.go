package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
)

// Where nothing moves any more, exactly so many handlers run as may.
func TestConcurrencyAndWindow(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		concurrency, window, want int
	}{
		"concurrency": {3, 100, 3},
		"window":      {100, 5, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				broker := pubsub.NewMemory(pubsub.WithPartitions(1))
				for i := range 50 {
					publish(t, broker, fmt.Sprint("k", i), "v")
				}
				var begun atomic.Int32
				letGo := make(chan struct{})
				stop := subscribe(t, broker, "g", func(context.Context, *pubsub.Delivery) error {
					begun.Add(1)
					<-letGo
					return nil
				}, pubsub.WithConcurrency(test.concurrency), pubsub.WithWindow(test.window))
				synctest.Wait()
				if n := begun.Load(); int(n) != test.want {
					t.Errorf("%d handlers run, want %d", n, test.want)
				}
				close(letGo)
				synctest.Wait()
				if n := begun.Load(); n != 50 {
					t.Errorf("%d messages were handled in the end, want 50", n)
				}
				stop()
			})
		})
	}
}

// A message that does not come to an end stops its partition when the window is
// full, and the log says which one it is.
func TestStalledPartition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker := pubsub.NewMemory(pubsub.WithPartitions(1))
		var log wait.Log
		letGo := make(chan struct{})
		for i := range 5 {
			publish(t, broker, "k", fmt.Sprint(i))
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- broker.Subscribe(ctx, "t", "g", func(_ context.Context, d *pubsub.Delivery) error {
				if d.Offset == 1 {
					<-letGo
				}
				return nil
			}, pubsub.WithWindow(2), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&log, nil))))
		}()
		time.Sleep(20 * time.Second) // in the bubble's time
		synctest.Wait()
		if log.String() != "" {
			t.Errorf("logged before it was time: %s", &log)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		for _, want := range []string{"partition stands still", "its window is full", "partition=0", "offset=1", "lag=4", "window=2", "topic=t", "group=g"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log has no %q: %s", want, &log)
			}
		}
		close(letGo)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A partition that gets nowhere is to be seen, and logged when that begins and when
// it ends, and not between.
func TestStalledState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker := pubsub.NewMemory(pubsub.WithPartitions(1))
		var log wait.Log
		letGo := make(chan struct{})
		defer serve(t, broker, "stalled", func(_ context.Context, d *pubsub.Delivery) error {
			if string(d.Value) == "stuck" {
				<-letGo
			}
			return nil
		}, pubsub.WithStallAfter(time.Minute), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&log, nil))))()
		stalled := func() bool {
			for _, s := range pubsub.Subscriptions() {
				if strings.HasPrefix(s.Topic, "stalled") {
					return s.Partitions[0].Stalled
				}
			}
			return false
		}
		put := func(value string) {
			t.Helper()
			if err := broker.Publish(t.Context(), &pubsub.Message{Topic: "stalled", Key: []byte(value), Value: []byte(value)}); err != nil {
				t.Fatal(err)
			}
		}
		put("stuck")
		for range 4 { // others come to an end
			time.Sleep(50 * time.Second)
			put("other")
		}
		if stalled() || log.String() != "" {
			t.Errorf("it counts as stalled while it gets on: %s", &log)
		}
		time.Sleep(5 * time.Minute)
		if want := "no message comes to an end"; !stalled() || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), want) {
			t.Errorf("stalled: %v, and the log says %q, want %q", stalled(), &log, want)
		}
		close(letGo)
		time.Sleep(5 * time.Second)
		if stalled() || strings.Count(log.String(), "\n") != 2 || !strings.Contains(log.String(), "partition goes on") {
			t.Errorf("stalled: %v, and the log says %q", stalled(), &log)
		}
	})
}

// A publisher that waits for room is let go when the broker is closed.
func TestCloseOfFullPartition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker := pubsub.NewMemory(pubsub.WithPartitions(1), pubsub.WithRetention(1))
		ctx, cancel := context.WithCancel(t.Context())
		ended, published := make(chan error, 1), make(chan error, 1)
		letGo := make(chan struct{})
		go func() {
			ended <- broker.Subscribe(ctx, "t", "g", func(context.Context, *pubsub.Delivery) error {
				<-letGo
				return nil
			})
		}()
		publish(t, broker, "k", "1")
		synctest.Wait()
		go func() { published <- broker.Publish(ctx, message("k", "2")) }()
		synctest.Wait()
		go broker.Close(ctx)
		if err := <-published; !errors.Is(err, pubsub.ErrClosed) || !errors.Is(err, pubsub.ErrNotSent) {
			t.Errorf("Publish returned %v, want %v", err, pubsub.ErrClosed)
		}
		close(letGo)
		if err := <-ended; !errors.Is(err, pubsub.ErrClosed) {
			t.Errorf("Subscribe returned %v, want %v", err, pubsub.ErrClosed)
		}
		cancel()
	})
}

// A handler that ignores its context is named, and does not hang Subscribe.
func TestAbandonedHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		broker := pubsub.NewMemory()
		letGo, gone := make(chan struct{}), make(chan struct{})
		publish(t, broker, "k", "v")
		err := broker.Subscribe(ctx, "t", "g", func(context.Context, *pubsub.Delivery) error {
			defer close(gone)
			cancel()
			<-letGo
			return nil
		}, pubsub.WithDrainTimeout(time.Millisecond))
		if err == nil || !strings.Contains(err.Error(), "t/g") || !strings.Contains(err.Error(), "1 handlers") {
			t.Errorf("Subscribe returned %v", err)
		}
		receive(t, broker, "g", 1) // it is delivered again
		close(letGo)
		<-gone
	})
}
