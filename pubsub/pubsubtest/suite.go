package pubsubtest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

// suite is what a test works with.
type suite struct {
	*testing.T

	ctx   context.Context // ends soon enough that a hang is a failure
	b     pubsub.Broker
	topic string // unique, and so is group
	group string
}

// message returns one for the test's topic; an empty key is none.
func (s *suite) message(key, value string) *pubsub.Message {
	m := &pubsub.Message{Topic: s.topic, Value: []byte(value)}
	if key != "" {
		m.Key = []byte(key)
	}
	return m
}

func (s *suite) publish(msgs ...*pubsub.Message) {
	s.Helper()
	if err := s.b.Publish(s.ctx, msgs...); err != nil {
		s.Fatalf("Publish: %v", err)
	}
}

// subscription is a running Subscribe call.
type subscription struct {
	s      *suite
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // once ended is closed
}

// subscribe subscribes to the test's topic, and returns when the subscription
// is ready.
func (s *suite) subscribe(group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) *subscription {
	s.Helper()
	return s.start(func(ctx context.Context, opts ...pubsub.SubscribeOption) error {
		return s.b.Subscribe(ctx, s.topic, group, h, opts...)
	}, opts...)
}

// start runs any Subscribe call, and returns when the subscription is ready.
func (s *suite) start(subscribe func(context.Context, ...pubsub.SubscribeOption) error, opts ...pubsub.SubscribeOption) *subscription {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	sub := &subscription{s: s, cancel: cancel, ended: make(chan struct{})}
	ready := make(chan struct{})
	defaults := []pubsub.SubscribeOption{
		pubsub.WithReady(func() { close(ready) }),
		pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler)),
		pubsub.WithRetry(pubsub.RetryPolicy{InitialBackoff: time.Millisecond, MaxBackoff: 50 * time.Millisecond}),
	}
	go func() {
		defer close(sub.ended)
		sub.err = subscribe(ctx, slices.Concat(defaults, opts)...)
	}()
	s.Cleanup(func() {
		cancel()
		<-sub.ended
	})
	select {
	case <-ready:
	case <-sub.ended: // it may have been quick
		select {
		case <-ready:
		default:
			s.Fatalf("Subscribe ended before it was ready: %v", sub.err)
		}
	case <-s.ctx.Done():
		s.Fatal("Subscribe was not ready in time")
	}
	return sub
}

// stop ends the subscription from outside, which is no error.
func (sub *subscription) stop() {
	sub.s.Helper()
	sub.cancel()
	if err := sub.wait(); err != nil {
		sub.s.Fatalf("Subscribe returned %v when its context had ended, want nil", err)
	}
}

// wait returns the result of Subscribe.
func (sub *subscription) wait() error {
	sub.s.Helper()
	sub.s.receive("the end of a subscription", sub.ended)
	return sub.err
}

// receive waits for c.
func (s *suite) receive(what string, c <-chan struct{}) {
	s.Helper()
	select {
	case <-c:
	case <-s.ctx.Done():
		s.Fatalf("waited in vain for %s", what)
	}
}

// record is what handlers saw, in the order in which they began.
type record struct {
	mu      sync.Mutex
	got     []pubsub.Delivery
	changed chan struct{} // closed by the next change
}

func newRecord() *record { return &record{changed: make(chan struct{})} }

// handle is a Handler that only records.
func (r *record) handle(_ context.Context, d *pubsub.Delivery) error {
	r.add(d)
	return nil
}

func (r *record) add(d *pubsub.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, *d)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *record) all() []pubsub.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// values returns the values recorded, sorted.
func (r *record) values() []string {
	var values []string
	for _, d := range r.all() {
		values = append(values, string(d.Value))
	}
	slices.Sort(values)
	return values
}

// await waits until n deliveries are recorded, and returns all there are.
func (s *suite) await(r *record, n int) []pubsub.Delivery {
	s.Helper()
	return s.until(r, fmt.Sprintf("%d messages", n), func(got []pubsub.Delivery) bool { return len(got) >= n })
}

func (s *suite) until(r *record, what string, done func([]pubsub.Delivery) bool) []pubsub.Delivery {
	s.Helper()
	for {
		r.mu.Lock()
		got, changed := slices.Clone(r.got), r.changed
		r.mu.Unlock()
		if done(got) {
			return got
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			s.Fatalf("waited in vain for %s, there are %d: %q", what, len(got), r.values())
		}
	}
}

// numbers returns prefix0, prefix1, … sorted as record.values is.
func numbers(prefix string, n int) []string {
	var values []string
	for i := range n {
		values = append(values, fmt.Sprint(prefix, i))
	}
	slices.Sort(values)
	return values
}

// exactly checks that these values were delivered, and each once.
func (s *suite) exactly(r *record, want []string) {
	s.Helper()
	if got := r.values(); !slices.Equal(got, want) {
		s.Errorf("handled %q, want %q", got, want)
	}
}

// inOrder checks that the values of each key, numbers, were delivered in
// ascending order.
func (s *suite) inOrder(got []pubsub.Delivery) {
	s.Helper()
	last := make(map[string]int)
	for _, d := range got {
		var n int
		if _, err := fmt.Sscan(string(d.Value), &n); err != nil {
			s.Fatalf("value %q: %v", d.Value, err)
		}
		key := string(d.Key)
		if before, ok := last[key]; ok && n <= before {
			s.Errorf("key %s: %d came after %d", key, n, before)
		}
		last[key] = n
	}
}
