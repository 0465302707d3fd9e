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

	"github.com/grpc-micro/micro/pubsub"
)

// dedupStore is a store that fails when it is told to.
type dedupStore struct {
	*pubsub.DedupMemory

	seenFails, markFails atomic.Int32
	marks                atomic.Int32
}

func newDedupStore() *dedupStore { return &dedupStore{DedupMemory: pubsub.NewDedupMemory(100, 0)} }

func (s *dedupStore) Seen(ctx context.Context, key pubsub.DedupKey) (bool, error) {
	if s.seenFails.Add(-1) >= 0 {
		return false, errors.New("store is away")
	}
	return s.DedupMemory.Seen(ctx, key)
}

func (s *dedupStore) Mark(ctx context.Context, key pubsub.DedupKey) error {
	s.marks.Add(1)
	if s.markFails.Add(-1) >= 0 {
		return errors.New("store is away")
	}
	return s.DedupMemory.Mark(ctx, key)
}

func TestDedup(t *testing.T) {
	t.Parallel()
	store := newDedupStore()
	handled := make(map[string]int)
	fail := true
	h := pubsub.Dedup(store)(func(_ context.Context, d *pubsub.Delivery) error {
		if string(d.Value) == "fails once" && fail {
			fail = false
			return errors.New("not yet")
		}
		handled[string(d.Value)]++
		return nil
	})
	deliver := func(value, topic, group, source, id string) error {
		return h(t.Context(), &pubsub.Delivery{Group: group, Message: &pubsub.Message{Topic: topic, Source: source, ID: id, Value: []byte(value)}})
	}
	for range 3 {
		for value, key := range map[string][4]string{
			"one":               {"t", "g", "/s", "1"},
			"of another group":  {"t", "h", "/s", "1"},
			"of another topic":  {"u", "g", "/s", "1"},
			"of another source": {"t", "g", "/", "1"},
			"another":           {"t", "g", "/s", "2"},
			"nameless":          {"t", "g", "/s", ""},
			"fails once":        {"t", "g", "/s", "3"},
		} {
			if err := deliver(value, key[0], key[1], key[2], key[3]); err != nil && value != "fails once" {
				t.Errorf("%s: %v", value, err)
			}
		}
	}
	for value, n := range handled {
		want := 1
		if value == "nameless" {
			want = 3
		}
		if n != want {
			t.Errorf("%s was handled %d times, want %d", value, n, want)
		}
	}
	if len(handled) != 7 {
		t.Errorf("handled %v", handled)
	}
}

// While the store is away nothing is handled, and what was handled is not
// handled again to be marked.
func TestDedupStoreFails(t *testing.T) {
	t.Parallel()
	store := newDedupStore()
	store.seenFails.Store(2)
	store.markFails.Store(3)
	n := 0
	h := pubsub.Dedup(store)(func(context.Context, *pubsub.Delivery) error {
		n++
		return nil
	})
	d := &pubsub.Delivery{Message: &pubsub.Message{Topic: "t", ID: "1"}}
	for try := range 5 {
		err := h(t.Context(), d)
		if err == nil || !strings.Contains(err.Error(), "store is away") || !strings.Contains(err.Error(), "message 1") {
			t.Errorf("try %d: %v", try, err)
		}
		if want := min(max(try-1, 0), 1); n != want {
			t.Errorf("try %d: handled %d times, want %d", try, n, want)
		}
	}
	for range 2 {
		if err := h(t.Context(), d); err != nil {
			t.Error(err)
		}
	}
	if n != 1 || store.marks.Load() != 5 {
		t.Errorf("handled %d times, marked %d times", n, store.marks.Load())
	}
}

// The drain deadline is over when the handler returns: its message is marked
// all the same.
func TestDedupMarksAfterTheDeadline(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	store := pubsub.NewDedupMemory(10, 0)
	h := pubsub.Dedup(contextStore{store})(func(context.Context, *pubsub.Delivery) error {
		cancel()
		return nil
	})
	if err := h(ctx, &pubsub.Delivery{Message: &pubsub.Message{Topic: "t", ID: "1"}}); err != nil || store.Len() != 1 {
		t.Errorf("%v, %d marked", err, store.Len())
	}
}

// contextStore is a store that does nothing in a context that has ended.
type contextStore struct{ *pubsub.DedupMemory }

func (s contextStore) Mark(ctx context.Context, key pubsub.DedupKey) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.DedupMemory.Mark(ctx, key)
}

// The same message twice at once: the second waits for the first, and is
// handled only if that one fails.
func TestDedupAtOnce(t *testing.T) {
	t.Parallel()
	for _, outcome := range []error{nil, errors.New("no")} {
		synctest.Test(t, func(t *testing.T) {
			began, goOn := make(chan struct{}, 2), make(chan error)
			var calls atomic.Int32
			h := pubsub.Dedup(pubsub.NewDedupMemory(10, time.Hour))(func(context.Context, *pubsub.Delivery) error {
				calls.Add(1)
				began <- struct{}{}
				return <-goOn
			})
			results := make(chan error, 3)
			ctx, cancel := context.WithCancel(t.Context())
			for _, ctx := range []context.Context{t.Context(), t.Context(), ctx} {
				go func() { results <- h(ctx, &pubsub.Delivery{Message: &pubsub.Message{Topic: "t", ID: "1"}}) }()
				synctest.Wait()
			}
			if n := calls.Load(); n != 1 {
				t.Fatalf("%d handlers run at once", n)
			}
			cancel()
			if err := <-results; !errors.Is(err, context.Canceled) {
				t.Errorf("the one that was cut off returned %v", err)
			}
			goOn <- outcome
			want := int32(1)
			if outcome != nil {
				want = 2
				goOn <- nil
			}
			if err := errors.Join(<-results, <-results); !errors.Is(err, outcome) {
				t.Error(err)
			}
			if n := calls.Load(); n != want {
				t.Errorf("handled %d times, want %d", n, want)
			}
		})
	}
}

func TestDedupMemoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := pubsub.NewDedupMemory(10, time.Minute)
		key := func(n int) pubsub.DedupKey { return pubsub.DedupKey{Topic: "t", ID: fmt.Sprint(n)} }
		seen := func(n int) bool {
			seen, _ := s.Seen(ctx, key(n))
			return seen
		}
		for n := range 1000 {
			_ = s.Mark(ctx, key(n))
			_ = s.Mark(ctx, key(n))
			for i := range 10 {
				if n >= i && !seen(n-i) {
					t.Fatalf("after %d it has forgotten %d", n, n-i)
				}
			}
			if s.Len() > 20 {
				t.Fatalf("it holds %d", s.Len())
			}
		}
		if seen(900) {
			t.Error("it has forgotten nothing")
		}
		time.Sleep(time.Minute - 1)
		if !seen(999) {
			t.Error("it forgets before the time")
		}
		time.Sleep(time.Minute + 1)
		if seen(999) || s.Len() != 0 {
			t.Errorf("it still holds %d after two minutes", s.Len())
		}
	})
	if s := pubsub.NewDedupMemory(0, -1); s.Mark(t.Context(), pubsub.DedupKey{ID: "1"}) != nil || s.Len() != 1 {
		t.Error("the smallest store holds nothing")
	}
}

// What was published twice, with and without a key, is handled once.
func TestDedupOnBroker(t *testing.T) {
	t.Parallel()
	broker := pubsub.NewMemory()
	defer broker.Close(context.WithoutCancel(t.Context()))
	var want, handled atomic.Int32
	for range 3 {
		for i := range 100 {
			m := &pubsub.Message{Topic: "t", Source: "/test", ID: fmt.Sprint(i)}
			if i%2 == 0 {
				m.Key = fmt.Append(nil, i)
			}
			if err := broker.Publish(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			want.Add(1)
		}
	}
	// The limit counts what is acknowledged, handled or not.
	err := broker.Subscribe(t.Context(), "t", "g", func(context.Context, *pubsub.Delivery) error {
		handled.Add(1)
		return nil
	}, pubsub.WithMiddleware(pubsub.Dedup(pubsub.NewDedupMemory(1000, time.Hour))), pubsub.WithLimit(int(want.Load())), pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler)))
	if err != nil || handled.Load() != 100 {
		t.Errorf("100 messages, each published 3 times, were handled %d times: %v", handled.Load(), err)
	}
}

func BenchmarkDedup(b *testing.B) {
	h := pubsub.Dedup(pubsub.NewDedupMemory(100_000, time.Hour))(func(context.Context, *pubsub.Delivery) error { return nil })
	ids := make([]string, 1<<16)
	for i := range ids {
		ids[i] = fmt.Sprintf("01a20eea-9c9e-7b4b-afe4-%012d", i)
	}
	d := &pubsub.Delivery{Group: "g", Message: &pubsub.Message{Topic: "t", Source: "/bench"}}
	ctx := b.Context()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.ID = ids[i%len(ids)]
		if err := h(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}
