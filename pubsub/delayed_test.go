package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

var errNotYet = errors.New("not yet")

func TestUnorderedRetryMistakes(t *testing.T) {
	t.Parallel()
	dead := pubsub.WithDeadLetter()
	for want, call := range map[string]func(b *pubsub.Memory) error{
		"a broadcast has no retry topics": func(b *pubsub.Memory) error {
			return b.Subscribe(t.Context(), "t", "", fails(nil), dead, pubsub.WithUnorderedRetry(time.Minute))
		},
		"needs a dead-letter topic": func(b *pubsub.Memory) error {
			return b.Subscribe(t.Context(), "t", "g", fails(nil), pubsub.WithUnorderedRetry(time.Minute))
		},
		"does not go with WithLimit": func(b *pubsub.Memory) error {
			return b.Subscribe(t.Context(), "t", "g", fails(nil), dead, pubsub.WithLimit(1), pubsub.WithUnorderedRetry(time.Minute))
		},
		"delay 1µs: give 1ms or more": func(b *pubsub.Memory) error {
			return b.Subscribe(t.Context(), "t", "g", fails(nil), dead, pubsub.WithUnorderedRetry(time.Microsecond))
		},
		"delay 1m0s after 1m0s: they have to ascend": func(b *pubsub.Memory) error {
			return b.Subscribe(t.Context(), "t", "g", fails(nil), dead, pubsub.WithUnorderedRetry(time.Minute, time.Minute))
		},
		"retry topic": func(b *pubsub.Memory) error {
			return b.Subscribe(t.Context(), strings.Repeat("t", 240), "g", fails(nil), pubsub.WithDeadLetterTopic("d"), pubsub.WithUnorderedRetry(time.Minute))
		},
		"discard does not subscribe": func(*pubsub.Memory) error {
			_, err := pubsub.NewSubscription(discard{}, "t", "g", fails(nil), dead, pubsub.WithUnorderedRetry(time.Minute))
			return err
		},
	} {
		if err := call(pubsub.NewMemory()); err == nil || !strings.HasPrefix(err.Error(), "pubsub: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}

// serve subscribes to a topic, for as long as the clock of a bubble may run.
func serve(t *testing.T, b pubsub.Broker, topic string, h pubsub.Handler, opts ...pubsub.SubscribeOption) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Subscribe(ctx, topic, "g", h, append([]pubsub.SubscribeOption{quiet}, opts...)...) }()
	synctest.Wait()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Subscribe: %v", err)
		}
	}
}

// Each delay has a topic, by the shortest name that there is for it.
func TestRetryTopics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker, begin := pubsub.NewMemory(), time.Now()
		var mu sync.Mutex
		var at []time.Duration
		defer serve(t, broker, "t", func(context.Context, *pubsub.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(begin))
			return errNotYet
		}, pubsub.WithDeadLetter(), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 1}),
			pubsub.WithUnorderedRetry(500*time.Millisecond, 90*time.Second, 10*time.Minute, time.Hour, 30*time.Hour+30*time.Minute))()
		publish(t, broker, "k", "v")
		for i, topic := range []string{"t.g.retry.500ms", "t.g.retry.1m30s", "t.g.retry.10m", "t.g.retry.1h", "t.g.retry.30h30m", "t.g.dead"} {
			err := broker.Subscribe(t.Context(), topic, "watcher", func(_ context.Context, d *pubsub.Delivery) error {
				if string(d.Key) != "k" || string(d.Value) != "v" || d.ID == "" {
					t.Errorf("in %s there is %+v", topic, d.Message)
				}
				return nil
			}, pubsub.WithLimit(1))
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			if len(at) != i+1 {
				t.Errorf("in %s after %d tries", topic, len(at))
			}
			mu.Unlock()
		}
		mu.Lock()
		defer mu.Unlock()
		for i, want := range []time.Duration{0, 500 * time.Millisecond, 90500 * time.Millisecond, 690500 * time.Millisecond} {
			if at[i].Round(100*time.Millisecond) != want {
				t.Errorf("try %d came at %v, want %v", i+1, at[i], want)
			}
		}
	})
}

// More messages wait than fit into the window: none holds a goroutine, all come
// when they are due, and the log is silent about what stands still by intention.
func TestManyWaitUnordered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const total, delay = 5000, time.Hour
		broker := pubsub.NewMemory(pubsub.WithPartitions(1))
		var failed, handled atomic.Int32
		var early, logged atomic.Int32
		begin := time.Now()
		stop := serve(t, broker, "t", func(_ context.Context, d *pubsub.Delivery) error {
			if d.Attempt == 1 {
				failed.Add(1)
				return errNotYet
			}
			handled.Add(1)
			if time.Since(begin) < delay {
				early.Add(1)
			}
			return nil
		}, pubsub.WithDeadLetter(), pubsub.WithUnorderedRetry(delay), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 1}),
			pubsub.WithSubscribeLogger(slog.New(stalls(logged.Add))))
		before := runtime.NumGoroutine()
		for i := range total {
			publish(t, broker, fmt.Sprint(i%100), "v")
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > total/5 || failed.Load() != total {
			t.Errorf("%d messages have failed and wait, and there are %d more goroutines", failed.Load(), n)
		}
		time.Sleep(delay / 2) // in the bubble's time
		synctest.Wait()
		if n := handled.Load(); n != 0 {
			t.Errorf("%d messages came before they were due", n)
		}
		time.Sleep(delay)
		synctest.Wait()
		if n := handled.Load(); n != total || early.Load() != 0 {
			t.Errorf("%d of %d messages came when they were due, %d of them too early", n, total, early.Load())
		}
		if n := logged.Load(); n != 0 {
			t.Errorf("it is logged %d times that a partition stands still", n)
		}
		stop()
	})
}

// stalls is a slog.Handler that counts what is logged of standing still.
type stalls func(int32) int32

func (stalls) Enabled(context.Context, slog.Level) bool { return true }
func (s stalls) WithAttrs([]slog.Attr) slog.Handler     { return s }
func (s stalls) WithGroup(string) slog.Handler          { return s }

func (s stalls) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "stands still") {
		s(1)
	}
	return nil
}

// A message that cannot be put into the retry topic is not lost, and not handled
// again meanwhile.
func TestRetryTopicAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &refusing{Memory: pubsub.NewMemory(), topic: "t.g.retry.1m", left: 3}
		var tries atomic.Int32
		sub, err := pubsub.NewSubscription(b, "t", "g", func(context.Context, *pubsub.Delivery) error {
			tries.Add(1)
			return errNotYet
		}, quiet, pubsub.WithDeadLetter(), pubsub.WithUnorderedRetry(time.Minute), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 1}))
		if err != nil {
			t.Fatal(err)
		}
		d := &pubsub.Delivery{Message: &pubsub.Message{ID: "id", Topic: "t", Value: []byte("v")}, Group: "g"}
		for n := range 3 {
			if pause, err := sub.Handle(t.Context(), d); pause == 0 || err != nil {
				t.Errorf("try %d: %v, %v", n, pause, err)
			}
		}
		if pause, err := sub.Handle(t.Context(), d); pause != 0 || err != nil {
			t.Errorf("the topic is there again: %v, %v", pause, err)
		}
		if s := sub.State(); tries.Load() != 1 || s.Undelivered != 3 || s.Delayed != 1 || s.Handled != 1 {
			t.Errorf("%d tries, state %+v", tries.Load(), s)
		}
	})
}

// refusing is a broker that refuses what is published to a topic, some times.
type refusing struct {
	*pubsub.Memory

	topic string
	left  int
}

func (r *refusing) Publish(ctx context.Context, msgs ...*pubsub.Message) error {
	if msgs[0].Topic == r.topic && r.left > 0 {
		r.left--
		return errors.New("away")
	}
	return r.Memory.Publish(ctx, msgs...)
}

// What somebody else has put into a retry topic is handled, too.
func TestForeignInRetryTopic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker := pubsub.NewMemory()
		handled := make(chan pubsub.Delivery, 1)
		stop := serve(t, broker, "t", func(_ context.Context, d *pubsub.Delivery) error {
			handled <- *d
			return nil
		}, pubsub.WithDeadLetter(), pubsub.WithUnorderedRetry(time.Minute))
		if err := broker.Publish(t.Context(), &pubsub.Message{Topic: "t.g.retry.1m", Value: []byte("v"), Header: pubsub.Header{{Key: "a"}}}); err != nil {
			t.Fatal(err)
		}
		if d := <-handled; d.Topic != "t.g.retry.1m" || d.Group != "g" || d.Attempt != 1 {
			t.Errorf("handled %+v of %s", d, d.Topic)
		}
		stop()
	})
}

// A retry topic that cannot be read ends the subscription.
func TestRetryTopicCannotBeRead(t *testing.T) {
	t.Parallel()
	b := unreadable{pubsub.NewMemory()}
	sub, err := pubsub.NewSubscription(b, "t", "g", fails(nil), quiet, pubsub.WithDeadLetter(), pubsub.WithUnorderedRetry(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	err = sub.Run(t.Context(), func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	if err == nil || err.Error() != "t.g.retry.1m is not there" {
		t.Errorf("Run = %v", err)
	}
}

type unreadable struct{ *pubsub.Memory }

func (unreadable) Subscribe(_ context.Context, topic, _ string, _ pubsub.Handler, _ ...pubsub.SubscribeOption) error {
	return errors.New(topic + " is not there")
}
