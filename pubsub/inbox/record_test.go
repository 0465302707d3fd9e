package inbox_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

// record is what handlers saw of each key.
type record struct {
	mu      sync.Mutex
	byKey   map[string][]string
	changed chan struct{} // capacity 1
}

func newRecord() *record {
	return &record{byKey: make(map[string][]string), changed: make(chan struct{}, 1)}
}

func (r *record) handle(_ context.Context, d *pubsub.Delivery) error {
	r.mu.Lock()
	r.byKey[string(d.Key)] = append(r.byKey[string(d.Key)], string(d.Value))
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return nil
}

func (r *record) of(key string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.byKey[key])
}

func (r *record) count() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, values := range r.byKey {
		n += len(values)
	}
	return n
}

func (r *record) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-r.changed:
		case <-deadline:
			t.Fatalf("waited in vain: %s; handled: %q", what, r.byKey)
		}
	}
}

// subscribe runs a subscription until the test, or the caller, ends it; it
// returns when that is ready.
func subscribe(t *testing.T, b pubsub.Broker, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if err := b.Subscribe(ctx, topic, group, h, append([]pubsub.SubscribeOption{
			pubsub.WithReady(func() { close(ready) }), pubsub.WithSubscribeLogger(quiet),
		}, opts...)...); err != nil {
			t.Errorf("Subscribe: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		t.Fatal("Subscribe was not ready in time")
	}
	return stop
}

func message(key, value string) *pubsub.Message {
	return &pubsub.Message{Topic: "t", Key: []byte(key), Value: []byte(value)}
}

func publish(t *testing.T, b pubsub.Broker, key string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := b.Publish(t.Context(), message(key, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
}
