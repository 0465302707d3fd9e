package pubsub_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

var quiet = pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler))

// subscription is what a driver makes, with a driver that only calls Handle.
func subscription(t *testing.T, p pubsub.Publisher, h pubsub.Handler, opts ...pubsub.SubscribeOption) *pubsub.Subscription {
	t.Helper()
	sub, err := pubsub.NewSubscription(p, "topic", "group", h, append([]pubsub.SubscribeOption{quiet}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func delivery() *pubsub.Delivery {
	return &pubsub.Delivery{
		Message:   &pubsub.Message{ID: "id", Topic: "topic", Key: []byte("k"), Value: []byte("v")},
		Group:     "group",
		Partition: 3,
		Offset:    7,
	}
}

func fails(err error) pubsub.Handler {
	return func(context.Context, *pubsub.Delivery) error { return err }
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for group, start := range map[string]pubsub.Start{"group": pubsub.First, "": pubsub.Last} {
		sub, err := pubsub.NewSubscription(discard{}, "topic", group, fails(nil))
		if err != nil {
			t.Fatal(err)
		}
		if sub.Concurrency != 128 || sub.Window != 4096 || sub.DrainTimeout != 10*time.Second || sub.Start != start || sub.Logger == nil {
			t.Errorf("group %q: %+v", group, sub)
		}
	}
	if sub := subscription(t, discard{}, fails(nil), pubsub.WithLimit(2)); sub.Concurrency != 2 {
		t.Errorf("limit 2 has concurrency %d", sub.Concurrency)
	}
}

func TestInvalidOptions(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]pubsub.SubscribeOption{
		"nil":         nil,
		"attempts":    pubsub.WithRetry(pubsub.RetryPolicy{Attempts: -2}),
		"backoff":     pubsub.WithRetry(pubsub.RetryPolicy{InitialBackoff: -1}),
		"concurrency": pubsub.WithConcurrency(-1),
		"window":      pubsub.WithWindow(0),
		"start":       pubsub.WithStart(7),
		"drain":       pubsub.WithDrainTimeout(-1),
		"limit":       pubsub.WithLimit(-1),
		"stall":       pubsub.WithStallAfter(0),
		"logger":      pubsub.WithSubscribeLogger(nil),
		"middleware":  pubsub.WithMiddleware(pubsub.Recover, nil),
		"dead letter": pubsub.WithDeadLetterTopic("no/topic"),
		"own topic":   pubsub.WithDeadLetterTopic("topic"),
	} {
		if _, err := pubsub.NewSubscription(discard{}, "topic", "group", fails(nil), opt); err == nil || !strings.HasPrefix(err.Error(), "pubsub: ") {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	long := strings.Repeat("t", 240)
	if _, err := pubsub.NewSubscription(discard{}, long, "group", fails(nil), pubsub.WithDeadLetter()); err == nil {
		t.Error("a dead-letter topic with too long a name was accepted")
	}
}

// Pauses double up to the maximum, and each is shortened by up to a half.
func TestBackoff(t *testing.T) {
	t.Parallel()
	const initial, most = 100 * time.Millisecond, time.Second
	for name, test := range map[string]struct {
		policy pubsub.RetryPolicy
		pauses []time.Duration // the longest each may be
	}{
		"set":      {pubsub.RetryPolicy{InitialBackoff: initial, MaxBackoff: most}, []time.Duration{initial, 2 * initial, 4 * initial, 8 * initial, most, most}},
		"defaults": {pubsub.RetryPolicy{}, []time.Duration{100 * time.Millisecond, 200 * time.Millisecond}},
		"one":      {pubsub.RetryPolicy{InitialBackoff: time.Minute}, []time.Duration{time.Minute, time.Minute}},
		"lowest":   {pubsub.RetryPolicy{InitialBackoff: 1, MaxBackoff: 1}, []time.Duration{1, 1}},
		"capped":   {pubsub.RetryPolicy{InitialBackoff: time.Hour, MaxBackoff: time.Second}, []time.Duration{time.Second, time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 20 {
				sub := subscription(t, discard{}, fails(errors.New("no")), pubsub.WithRetry(test.policy))
				d := delivery()
				for i, longest := range test.pauses {
					got, err := sub.Handle(t.Context(), d)
					if err != nil || d.Attempt != i+1 || got > longest || got < longest/2 || got == 0 {
						t.Errorf("attempt %d: %v, %v, want from %v to %v", d.Attempt, got, err, longest/2, longest)
					}
				}
			}
		})
	}
}

func TestNoLimitOfAttempts(t *testing.T) {
	t.Parallel()
	cause := errors.New("no")
	for name, opts := range map[string][]pubsub.SubscribeOption{
		"no dead letter": nil,
		"told so":        {pubsub.WithDeadLetter(), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: -1})},
	} {
		sub := subscription(t, discard{}, fails(cause), opts...)
		d := delivery()
		for range 100 {
			if after, err := sub.Handle(t.Context(), d); after == 0 || err != nil {
				t.Fatalf("%s: attempt %d: %v, %v", name, d.Attempt, after, err)
			}
		}
	}
}

// A dead letter that cannot be published keeps the message unfinished, without
// another call of its handler.
func TestDeadLetterNotPublished(t *testing.T) {
	t.Parallel()
	box := &outbox{err: errors.New("broker is away")}
	calls := 0
	var log bytes.Buffer
	sub := subscription(t, box, func(context.Context, *pubsub.Delivery) error {
		calls++
		return errors.New("the cause")
	}, pubsub.WithDeadLetter(), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 2}),
		pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&log, nil))))
	d := delivery()
	for range 5 {
		if after, err := sub.Handle(t.Context(), d); after == 0 || err != nil {
			t.Fatalf("got %v, %v while the dead letter cannot be published", after, err)
		}
	}
	box.err = nil
	if after, err := sub.Handle(t.Context(), d); after != 0 || err != nil {
		t.Fatalf("got %v, %v once it can", after, err)
	}
	if calls != 2 || len(box.msgs) != 1 {
		t.Fatalf("%d calls, %d dead letters", calls, len(box.msgs))
	}
	letter, ok := pubsub.DeadLetterOf(box.msgs[0])
	if !ok || letter.Topic != "topic" || letter.Group != "group" || letter.Partition != 3 || letter.Offset != 7 || letter.Attempts != 2 || letter.Cause != "the cause" {
		t.Errorf("dead letter %+v", letter)
	}
	if got := box.msgs[0].Topic; got != "topic.group.dead" {
		t.Errorf("published to %s", got)
	}
	for _, want := range []string{"will be tried again", "broker is away", "now a dead letter", "the cause", "topic=topic", "group=group"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q: %s", want, &log)
		}
	}
}

// A handler that fails because it was cut off is no reason to give up.
func TestCutOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	box := &outbox{}
	sub := subscription(t, box, func(ctx context.Context, _ *pubsub.Delivery) error {
		cancel()
		return pubsub.Permanent(ctx.Err())
	}, pubsub.WithDeadLetter(), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 1}))
	d := delivery()
	for range 3 {
		if after, err := sub.Handle(ctx, d); after == 0 || err != nil {
			t.Errorf("got %v, %v", after, err)
		}
	}
	if d.Attempt != 1 || len(box.msgs) != 0 {
		t.Errorf("%d attempts, %d dead letters", d.Attempt, len(box.msgs))
	}
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	var calls []string
	named := func(name string) pubsub.Middleware {
		return func(next pubsub.Handler) pubsub.Handler {
			return func(ctx context.Context, d *pubsub.Delivery) error {
				calls = append(calls, name)
				err := next(ctx, d)
				if _, ok := errors.AsType[*pubsub.PanicError](err); !ok {
					t.Errorf("%s: got %v, want the handler's panic", name, err)
				}
				return err
			}
		}
	}
	sub := subscription(t, discard{}, func(context.Context, *pubsub.Delivery) error {
		calls = append(calls, "handler")
		panic("no")
	}, pubsub.WithMiddleware(named("a"), named("b")), pubsub.WithMiddleware(named("c")))
	if after, err := sub.Handle(t.Context(), delivery()); after == 0 || err != nil {
		t.Errorf("got %v, %v", after, err)
	}
	if want := []string{"a", "b", "c", "handler"}; !slices.Equal(calls, want) {
		t.Errorf("called %q, want %q", calls, want)
	}
}

func TestPanics(t *testing.T) {
	t.Parallel()
	cause := errors.New("no")
	var log bytes.Buffer
	for name, opts := range map[string][]pubsub.SubscribeOption{
		"handler": nil,
		"middleware": {pubsub.WithMiddleware(func(pubsub.Handler) pubsub.Handler {
			return func(context.Context, *pubsub.Delivery) error { panic(cause) }
		})},
		"nil handler from middleware": {pubsub.WithMiddleware(func(pubsub.Handler) pubsub.Handler { return nil })},
	} {
		log.Reset()
		sub := subscription(t, discard{}, func(context.Context, *pubsub.Delivery) error { panic(cause) },
			append(opts, pubsub.WithRetry(pubsub.RetryPolicy{Attempts: 1}), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&log, nil))))...)
		_, err := sub.Handle(t.Context(), delivery())
		panicked, ok := errors.AsType[*pubsub.PanicError](err)
		if !ok || len(panicked.Stack) == 0 || strings.Contains(err.Error(), "goroutine") {
			t.Errorf("%s: got %v, want a PanicError with its stack beside it", name, err)
		}
		if name != "nil handler from middleware" && !errors.Is(err, cause) {
			t.Errorf("%s: %v does not wrap what it panicked with", name, err)
		}
		if !strings.Contains(log.String(), "handler panicked") || !strings.Contains(log.String(), "goroutine") {
			t.Errorf("%s: the stack is not in the log: %s", name, &log)
		}
	}
}

func TestUntypedTombstones(t *testing.T) {
	t.Parallel()
	tombstone := delivery()
	tombstone.Message = &pubsub.Message{Topic: "topic", Key: []byte("k")}
	for name, test := range map[string]struct {
		opts []pubsub.SubscribeOption
		want string
	}{
		"to the handler": {nil, "handler"},
		"to its own":     {[]pubsub.SubscribeOption{pubsub.WithTombstones(fails(pubsub.Permanent(errors.New("tombstones"))))}, "tombstones"},
	} {
		sub := subscription(t, discard{}, fails(pubsub.Permanent(errors.New("handler"))), test.opts...)
		if _, err := sub.Handle(t.Context(), tombstone); err == nil || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := sub.Handle(t.Context(), delivery()); err == nil || !strings.HasSuffix(err.Error(), "handler") {
			t.Errorf("%s: an event came to %v", name, err)
		}
	}
}

// Whatever fails and is tried again, no more than the limit is finished.
func TestLimitIsNotExceeded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	const limit = 5
	var mu sync.Mutex
	calls, finished := 0, 0
	sub := subscription(t, discard{}, func(context.Context, *pubsub.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%3 != 0 {
			return errors.New("not this time")
		}
		finished++
		return nil
	}, pubsub.WithLimit(limit))
	err := sub.Run(ctx, func(ctx context.Context) error {
		var drivers sync.WaitGroup
		for range 20 {
			drivers.Go(func() {
				for ctx.Err() == nil {
					if after, err := sub.Handle(context.WithoutCancel(ctx), delivery()); after < 0 || err != nil {
						t.Errorf("got %v, %v", after, err)
					}
				}
			})
		}
		drivers.Wait()
		return nil
	})
	if err != nil || ctx.Err() != nil {
		t.Errorf("Run returned %v (%v)", err, ctx.Err())
	}
	if finished != limit {
		t.Errorf("%d messages are finished, want %d", finished, limit)
	}
	if after, err := sub.Handle(t.Context(), delivery()); after == 0 || err != nil {
		t.Errorf("beyond the limit: %v, %v", after, err)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	away, cause := errors.New("driver failed"), errors.New("message failed")
	for name, test := range map[string]struct {
		fetch func(ctx context.Context, cancel func(), sub *pubsub.Subscription) error
		want  error
	}{
		"told to stop": {func(ctx context.Context, cancel func(), _ *pubsub.Subscription) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}, nil},
		"driver failed": {func(context.Context, func(), *pubsub.Subscription) error { return away }, away},
		"driver failed in the drain": {func(_ context.Context, cancel func(), _ *pubsub.Subscription) error {
			cancel()
			return away
		}, away},
		"message failed": {func(ctx context.Context, _ func(), sub *pubsub.Subscription) error {
			if _, err := sub.Handle(context.WithoutCancel(ctx), delivery()); !errors.Is(err, cause) {
				t.Errorf("Handle returned %v", err)
			}
			<-ctx.Done()
			return ctx.Err()
		}, cause},
		"not run": {func(context.Context, func(), *pubsub.Subscription) error { return context.DeadlineExceeded }, context.DeadlineExceeded},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		sub := subscription(t, discard{}, fails(pubsub.Permanent(cause)))
		err := sub.Run(ctx, func(ctx context.Context) error { return test.fetch(ctx, cancel, sub) })
		if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
		cancel()
		if err := sub.Run(ctx, func(context.Context) error { t.Error("fetched after the end"); return nil }); err != nil {
			t.Errorf("%s: a context that has ended: %v", name, err)
		}
	}
}

func TestReadyOnce(t *testing.T) {
	t.Parallel()
	n := 0
	sub := subscription(t, discard{}, fails(nil), pubsub.WithReady(func() { n++ }))
	sub.Ready()
	sub.Ready()
	if n != 1 {
		t.Errorf("called %d times", n)
	}
	subscription(t, discard{}, fails(nil)).Ready()
}
