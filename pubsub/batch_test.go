package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

// batches records the values of each batch.
type batches struct {
	mu  sync.Mutex
	got [][]string
}

func (b *batches) add(deliveries []*pubsub.Delivery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var values []string
	for _, d := range deliveries {
		values = append(values, string(d.Value))
	}
	slices.Sort(values)
	b.got = append(b.got, values)
}

func (b *batches) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprint(b.got)
}

// A batch is as large as it may be, or as its time lets it; it has one event of a
// key, and the next of that key comes after it.
func TestBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker := pubsub.NewMemory(pubsub.WithPartitions(1))
		var got batches
		begin := time.Now()
		for _, key := range []string{"a", "b", "c", "d", "a", "e"} {
			publish(t, broker, key, key)
		}
		defer serve(t, broker, "t", pubsub.Batch(4, time.Minute, func(ctx context.Context, batch []*pubsub.Delivery) error {
			if pubsub.DeliveryFrom(ctx) != nil {
				t.Error("the context has one delivery for many")
			}
			got.add(batch)
			return nil
		}), pubsub.WithConcurrency(8))()
		time.Sleep(time.Hour) // in the bubble's time
		synctest.Wait()
		if want := "[[a b c d] [a e]]"; got.String() != want {
			t.Errorf("batches %s, want %s", &got, want)
		}
		if time.Since(begin) != time.Hour {
			t.Errorf("it took %v", time.Since(begin))
		}
	})
}

// One bad event does not take the others of its batch along: not with an error, and
// not with a panic.
func TestBatchFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error": func() error { return errNotYet },
		"panic": func() error { panic("broken") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				broker := pubsub.NewMemory(pubsub.WithPartitions(1))
				var good batches
				for _, key := range []string{"a", "bad", "c"} {
					publish(t, broker, key, key)
				}
				defer serve(t, broker, "t", pubsub.Batch(3, time.Second, func(_ context.Context, batch []*pubsub.Delivery) error {
					if slices.ContainsFunc(batch, func(d *pubsub.Delivery) bool { return string(d.Value) == "bad" }) {
						return fail()
					}
					good.add(batch)
					return nil
				}), pubsub.WithDeadLetter(), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 3}))()
				err := broker.Subscribe(t.Context(), "t.g.dead", "watcher", func(_ context.Context, d *pubsub.Delivery) error {
					letter, _ := pubsub.DeadLetterOf(d.Message)
					if string(d.Value) != "bad" || letter.Attempts != 3 || (name == "panic") != strings.Contains(letter.Stack, "goroutine") {
						t.Errorf("dead letter %s: %+v", d.Value, letter)
					}
					return nil
				}, pubsub.WithLimit(1))
				if err != nil {
					t.Error(err)
				}
				if want := "[[a] [c]]"; good.String() != want {
					t.Errorf("handled %s, want %s", &good, want)
				}
			})
		})
	}
}

// A handler that ends its goroutine does not leave those hanging that wait with it.
func TestBatchGoexit(t *testing.T) {
	t.Parallel()
	broker := pubsub.NewMemory(pubsub.WithPartitions(1))
	for _, key := range []string{"a", "b", "c"} {
		publish(t, broker, key, key)
	}
	err := broker.Subscribe(t.Context(), "t", "g", pubsub.Batch(3, time.Minute, func(context.Context, []*pubsub.Delivery) error {
		runtime.Goexit()
		return nil
	}), quiet)
	if err == nil || !strings.Contains(err.Error(), "ended its goroutine") {
		t.Errorf("Subscribe = %v", err)
	}
}

// A drain does not wait for more events beyond its timeout.
func TestBatchDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker := pubsub.NewMemory()
		var got batches
		publish(t, broker, "a", "a")
		begin := time.Now()
		stop := serve(t, broker, "t", pubsub.Batch(3, time.Minute, func(ctx context.Context, batch []*pubsub.Delivery) error {
			got.add(batch)
			return ctx.Err()
		}), pubsub.WithDrainTimeout(time.Second))
		stop()
		if took := time.Since(begin); got.String() != "[[a]]" || took > 2*time.Second {
			t.Errorf("batches %s after %v", &got, took)
		}
	})
}

// Nothing is handled while the gate is closed, and nothing is lost; neither a stop
// nor a rebalance waits for it.
func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 5000 // more than the windows hold
		broker := pubsub.NewMemory()
		var gate pubsub.Gate
		gate.Resume() // means nothing
		gate.Pause()
		gate.Pause()
		var got batches
		join := func() (stop func()) {
			return serve(t, broker, "gated", func(_ context.Context, d *pubsub.Delivery) error {
				got.add([]*pubsub.Delivery{d})
				return nil
			}, pubsub.WithGate(&gate), pubsub.WithWindow(100), pubsub.WithDrainTimeout(time.Hour), pubsub.WithStallAfter(time.Second))
		}
		stop := join()
		for i := range n {
			err := broker.Publish(t.Context(), &pubsub.Message{Topic: "gated", Key: []byte(fmt.Sprint(i)), Value: []byte("v")})
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute) // in the bubble's time
		begin := time.Now()
		other := join()
		stop()
		if took := time.Since(begin); took > time.Second || !gate.Paused() || got.String() != "[]" {
			t.Errorf("paused: %v, handled %s, and a drain took %v", gate.Paused(), &got, took)
		}
		for _, s := range pubsub.Subscriptions() {
			if s.Topic == "gated" && (!s.Paused || s.Running != 0 || s.Partitions[0].Stalled) {
				t.Errorf("state %+v", s)
			}
		}
		gate.Resume()
		time.Sleep(time.Minute)
		synctest.Wait()
		other()
		if gate.Paused() || len(got.got) != n {
			t.Errorf("paused: %v, %d messages were handled, want %d", gate.Paused(), len(got.got), n)
		}
	})
}

func ExampleBatch() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory()
	for _, user := range []string{"ada", "bob", "cyd"} {
		if err := signups.Publish(ctx, broker, &Signup{User: user}); err != nil {
			fmt.Println(err)
		}
	}
	err := signups.Subscribe(ctx, broker, "archive", pubsub.Batch(3, time.Minute, func(_ context.Context, batch []*Signup) error {
		fmt.Println(len(batch), "rows in one transaction")
		return nil
	}), pubsub.WithLimit(3))
	fmt.Println("ended:", err)
	// Output:
	// 3 rows in one transaction
	// ended: <nil>
}

// A handler that finds its database away pauses the subscription until it is back.
func ExampleGate() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory()
	if err := signups.Publish(ctx, broker, &Signup{User: "ada"}); err != nil {
		fmt.Println(err)
	}
	var gate pubsub.Gate
	err := signups.Subscribe(ctx, broker, "billing", func(ctx context.Context, s *Signup) error {
		if pubsub.DeliveryFrom(ctx).Attempt == 1 {
			gate.Pause()
			time.AfterFunc(10*time.Millisecond, gate.Resume) // when a probe finds it there again
			return errors.New("the database is away")
		}
		fmt.Println("billed", s.User)
		return nil
	}, pubsub.WithGate(&gate), pubsub.WithLimit(1), pubsub.WithSubscribeLogger(silent))
	fmt.Println("ended:", err)
	// Output:
	// billed ada
	// ended: <nil>
}
