package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
)

// member is a Subscribe call in the background.
type member struct {
	t      testing.TB
	cancel context.CancelFunc
	ready  chan struct{}
	ended  chan struct{}
	err    error // once ended is closed
}

// join subscribes, and ends with the test if not before.
func join(t testing.TB, b pubsub.Broker, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) *member {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{t: t, cancel: cancel, ready: make(chan struct{}), ended: make(chan struct{})}
	opts = append([]pubsub.SubscribeOption{
		pubsub.WithReady(func() { close(m.ready) }),
		pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler)),
	}, opts...)
	go func() {
		defer close(m.ended)
		m.err = b.Subscribe(ctx, topic, group, h, opts...)
	}()
	t.Cleanup(func() {
		cancel()
		<-m.ended
	})
	return m
}

// joined is join, and returns when the member is ready.
func joined(t testing.TB, b pubsub.Broker, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) *member {
	t.Helper()
	m := join(t, b, topic, group, h, opts...)
	m.await()
	return m
}

func (m *member) await() {
	m.t.Helper()
	select {
	case <-m.ready:
	case <-m.ended:
		m.t.Fatalf("Subscribe = %v before it was ready", m.err)
	case <-time.After(wait.Patience):
		m.t.Fatal("Subscribe is not ready")
	}
}

func (m *member) leave() {
	m.t.Helper()
	m.cancel()
	receive(m.t, m.ended)
	if m.err != nil {
		m.t.Errorf("Subscribe = %v", m.err)
	}
}

// ledger records numbered messages, and what is wrong with them.
type ledger struct {
	mu    sync.Mutex
	times map[int]int    // how often each number was handled
	last  map[string]int // by key: the number handled last for the first time
	again int            // deliveries after the first one
	late  int            // first deliveries behind a later one of their key
	also  *ledger        // takes it down before

	patience time.Duration // for the next one
}

func newLedger() *ledger {
	return &ledger{times: make(map[int]int), last: make(map[string]int), patience: wait.Patience}
}

func (l *ledger) handle(ctx context.Context, d *pubsub.Delivery) error {
	n, err := strconv.Atoi(string(d.Value))
	if err != nil {
		return pubsub.Permanent(err)
	}
	if l.also != nil {
		if err := l.also.handle(ctx, d); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.times[n]++; l.times[n] > 1 {
		l.again++
	}
	if key := string(d.Key); key != "" && l.times[n] == 1 {
		if last, ok := l.last[key]; ok && n < last {
			l.late++
		}
		l.last[key] = n
	}
	return nil
}

// count returns how many numbers were handled, and how often one was handled
// again.
func (l *ledger) count() (handled, again int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.times), l.again
}

// await waits until n numbers were handled, however long that takes as long as it
// goes on, and fails if one came out of order.
func (l *ledger) await(t testing.TB, n int) {
	t.Helper()
	for handled, _ := l.count(); handled < n; handled, _ = l.count() {
		wait.Within(t, l.patience, fmt.Sprintf("more than %d of %d messages to be handled", handled, n), func() bool { now, _ := l.count(); return now > handled })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late > 0 {
		t.Errorf("%d messages out of order", l.late)
	}
}

// numbered returns messages from, from+1, … with one of so many keys each.
func numbered(topic string, from, n, keys int) []*pubsub.Message {
	msgs := make([]*pubsub.Message, n)
	for i := range msgs {
		msgs[i] = message(topic, fmt.Sprint("key", (from+i)%keys), fmt.Sprint(from+i))
	}
	return msgs
}

func message(topic, key, value string) *pubsub.Message {
	m := &pubsub.Message{Topic: topic, Value: []byte(value)}
	if key != "" {
		m.Key = []byte(key)
	}
	return m
}

// receive waits for what comes from c.
func receive[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(wait.Patience):
		t.Fatal("waited in vain")
	}
	return v
}
