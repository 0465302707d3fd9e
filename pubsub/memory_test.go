package pubsub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/pubsubtest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	pubsubtest.Run(t, func(*testing.T) pubsub.Broker { return pubsub.NewMemory() })
}

// A ring that wraps round, and publishers that wait, change nothing.
func TestMemoryFull(t *testing.T) {
	t.Parallel()
	pubsubtest.Run(t, func(*testing.T) pubsub.Broker {
		return pubsub.NewMemory(pubsub.WithPartitions(3), pubsub.WithRetention(120))
	})
}

// A key is where Kafka's Java client puts it: the hashes are those of the tests
// of org.apache.kafka.common.utils.Utils.
func TestPartitionOfKey(t *testing.T) {
	t.Parallel()
	const partitions = 1009
	broker := pubsub.NewMemory(pubsub.WithPartitions(partitions))
	want := make(map[string]int)
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		want[key] = int(hash&0x7fffffff) % partitions
		publish(t, broker, key, "v")
	}
	for _, d := range receive(t, broker, "g", len(want)) {
		if d.Partition != want[string(d.Key)] {
			t.Errorf("key %s is in partition %d, want %d", d.Key, d.Partition, want[string(d.Key)])
		}
	}
}

// Without a group the oldest are dropped.
func TestRetention(t *testing.T) {
	t.Parallel()
	broker := pubsub.NewMemory(pubsub.WithPartitions(1), pubsub.WithRetention(100))
	for i := range 250 {
		publish(t, broker, "k", fmt.Sprint(i))
	}
	got := receive(t, broker, "g", 100)
	for i, d := range got {
		if want := 150 + i; string(d.Value) != fmt.Sprint(want) || d.Offset != int64(want) {
			t.Fatalf("message %d is %s at %d, want %d", i, d.Value, d.Offset, want)
		}
	}
}

// A group with a member holds publishers up, and says so.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory(pubsub.WithPartitions(1), pubsub.WithRetention(10))
	letGo := make(chan struct{})
	handled := make(chan struct{}, 100)
	stop := subscribe(t, broker, "slow-group", func(context.Context, *pubsub.Delivery) error {
		<-letGo
		handled <- struct{}{}
		return nil
	})
	for i := range 10 {
		publish(t, broker, "k", fmt.Sprint(i))
	}
	wait.Until(t, "the error to say who holds it up", func() bool { // which it does not know if its time is over at once
		soon, over := context.WithTimeout(ctx, 20*time.Millisecond)
		defer over()
		err := broker.Publish(soon, message("k", "a"), message("k", "b"))
		failure, ok := errors.AsType[*pubsub.PublishError](err)
		if !ok || len(failure.Results) != 2 || !errors.Is(failure.Results[1], pubsub.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("publishing to a full partition: %v", err)
		}
		return strings.Contains(err.Error(), "slow-group")
	})
	waiting := make(chan error, 1)
	go func() { waiting <- broker.Publish(ctx, message("k", "c")) }()
	close(letGo)
	if err := <-waiting; err != nil {
		t.Errorf("publishing when there is room again: %v", err)
	}
	for range 11 {
		<-handled
	}
	stop()
}

// A group without members holds nobody up; its next member says what it missed.
func TestDroppedMessages(t *testing.T) {
	t.Parallel()
	broker := pubsub.NewMemory(pubsub.WithPartitions(1), pubsub.WithRetention(10))
	publish(t, broker, "k", "0")
	receive(t, broker, "g", 1)
	for i := range 20 {
		publish(t, broker, "k", fmt.Sprint(1+i))
	}
	var log bytes.Buffer
	got := receive(t, broker, "g", 10, pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if string(got[0].Value) != "11" {
		t.Errorf("goes on at %s", got[0].Value)
	}
	for _, want := range []string{"messages were dropped", "partition=0", "offset=1", "first_kept=11"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q: %s", want, &log)
		}
	}
}

// Close ends what is left, and does not wait for ever.
func TestCloseEndsSubscriptions(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory()
	began, letGo, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- broker.Subscribe(ctx, "t", "g", func(context.Context, *pubsub.Delivery) error {
			close(began)
			<-letGo
			return nil
		})
	}()
	publish(t, broker, "k", "v")
	<-began
	soon, over := context.WithTimeout(ctx, time.Millisecond)
	defer over()
	if err := broker.Close(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close did not end in time with %v", err)
	}
	close(letGo)
	if err := broker.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-ended; !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("Subscribe returned %v, want %v", err, pubsub.ErrClosed)
	}
}

// Members come and go at random while messages are published, and some fail at
// first: each message is finished once, in the order of its key.
func TestMemoryChurn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	const keys, each = 40, 250
	broker := pubsub.NewMemory()
	var mu sync.Mutex
	last := make(map[string]int)
	finished := 0
	all := make(chan struct{})
	handle := func(_ context.Context, d *pubsub.Delivery) error {
		if d.Attempt == 1 && rand.IntN(50) == 0 {
			return errors.New("fails at first")
		}
		var n int
		if _, err := fmt.Sscan(string(d.Value), &n); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if key := string(d.Key); last[key] != n {
			t.Errorf("key %s: %d is finished after %d", key, n, last[key])
		} else {
			last[key] = n + 1
		}
		if finished++; finished == keys*each {
			close(all)
		}
		return nil
	}
	var members sync.WaitGroup
	for range 3 {
		members.Go(func() {
			for done := false; !done; {
				stay, leave := context.WithTimeout(ctx, time.Duration(1+rand.IntN(20))*time.Millisecond)
				err := broker.Subscribe(stay, "t", "g", handle, quiet,
					pubsub.WithRetry(pubsub.RetryPolicy{InitialBackoff: time.Millisecond}), pubsub.WithWindow(1+rand.IntN(100)))
				leave()
				if err != nil {
					t.Error(err)
				}
				select {
				case <-all:
					done = true
				case <-ctx.Done():
					done = true
				default:
				}
			}
		})
	}
	for key := range keys {
		members.Go(func() {
			for i := range each {
				if err := broker.Publish(ctx, message(fmt.Sprint("k", key), fmt.Sprint(i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	members.Wait()
	if finished != keys*each {
		t.Errorf("%d messages are finished, want %d", finished, keys*each)
	}
}

func message(key, value string) *pubsub.Message {
	return &pubsub.Message{Topic: "t", Key: []byte(key), Value: []byte(value)}
}

func publish(t *testing.T, b pubsub.Broker, key, value string) {
	t.Helper()
	if err := b.Publish(t.Context(), message(key, value)); err != nil {
		t.Fatal(err)
	}
}

// subscribe subscribes to t, and returns when that is ready.
func subscribe(t *testing.T, b pubsub.Broker, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.Subscribe(ctx, "t", group, h, append(opts, pubsub.WithReady(func() { close(ready) }))...)
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("Subscribe: %v", err)
	}
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Subscribe: %v", err)
		}
	}
}

// receive returns the next n messages of a group.
func receive(t *testing.T, b pubsub.Broker, group string, n int, opts ...pubsub.SubscribeOption) []pubsub.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var mu sync.Mutex
	var got []pubsub.Delivery
	err := b.Subscribe(ctx, "t", group, func(_ context.Context, d *pubsub.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, *d)
		return nil
	}, append(opts, pubsub.WithLimit(n))...)
	if err != nil || len(got) != n {
		t.Fatalf("got %d messages, want %d: %v", len(got), n, err)
	}
	return got
}
