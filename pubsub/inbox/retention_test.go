package inbox_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/inbox"
)

// Close delivers what groups with members have not handled, and says what is
// left when it may not wait for longer.
func TestCloseFlushes(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	r := newRecord()
	letGo := make(chan struct{})
	subscribe(t, newBroker(t, reg), "t", "g", func(ctx context.Context, d *pubsub.Delivery) error {
		select {
		case <-letGo:
			return r.handle(ctx, d)
		case <-ctx.Done():
			return ctx.Err()
		}
	}, pubsub.WithConcurrency(2), pubsub.WithDrainTimeout(0))
	hasty, err := inbox.New(reg, inbox.WithInsecure(), inbox.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, hasty, "hasty", 0, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := hasty.Close(ctx); err == nil || !strings.Contains(err.Error(), "3 events were not handled yet") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close returned %v", err)
	}
	patient := newBroker(t, reg)
	publish(t, patient, "k", 0, 50)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeBroker(t, patient)
	}()
	close(letGo)
	<-closed
	if got := r.of("k"); len(got) != 50 || !slices.IsSortedFunc(got, func(a, b string) int { return len(a) - len(b) }) {
		t.Errorf("when Close had returned, %q were handled", got)
	}
}

// A full topic holds up publishers as long as the group that does not keep up has
// members, and no longer.
func TestFull(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	b := newBroker(t, reg, inbox.WithRetention(8))
	stop := subscribe(t, newBroker(t, reg), "t", "slow", func(ctx context.Context, _ *pubsub.Delivery) error {
		<-ctx.Done()
		return ctx.Err()
	}, pubsub.WithDrainTimeout(0))
	publish(t, b, "k", 0, 8)
	wait.Until(t, "the error to say what holds it up", func() bool { // which it does not know if its time is over at once
		soon, over := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer over()
		err := b.Publish(soon, message("k", "8"))
		if !errors.Is(err, pubsub.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Publish to a full topic returned %v", err)
		}
		return strings.Contains(err.Error(), `is full of messages that group "slow" has not finished`)
	})
	stop()
	if err := b.Publish(t.Context(), message("k", "8")); err != nil {
		t.Errorf("a group without members holds up publishers: %v", err)
	}
}

// What is dropped while a group has no members is told when it is back.
func TestDropped(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	var text wait.Log
	b := newBroker(t, reg, inbox.WithRetention(8), inbox.WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
	members := newBroker(t, reg)
	r := newRecord()
	stop := subscribe(t, members, "t", "g", r.handle)
	publish(t, b, "k", 0, 3)
	r.await(t, "the first ones", func() bool { return r.count() == 3 })
	stop()
	publish(t, b, "k", 3, 20)
	subscribe(t, members, "t", "g", r.handle)
	r.await(t, "the newest", func() bool { return slices.Contains(r.of("k"), "19") })
	if want := []string{"0", "1", "2", "12", "13", "14", "15", "16", "17", "18", "19"}; !slices.Equal(r.of("k"), want) {
		t.Errorf("handled %q, want %q", r.of("k"), want)
	}
	if log := text.String(); !strings.Contains(log, "messages were dropped while the group had no members") {
		t.Errorf("the log does not tell: %s", log)
	}
}
