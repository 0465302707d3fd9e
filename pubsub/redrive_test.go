package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

var silent = slog.New(slog.DiscardHandler)

// buryAll puts n messages into the dead-letter topic of group g.
func buryAll(t *testing.T, b pubsub.Broker, topic string, n int, cause error) {
	t.Helper()
	for i := range n {
		if err := b.Publish(t.Context(), &pubsub.Message{Topic: topic, Key: fmt.Append(nil, i), ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	err := b.Subscribe(t.Context(), topic, "g", func(context.Context, *pubsub.Delivery) error { return pubsub.Permanent(cause) },
		pubsub.WithDeadLetter(), pubsub.WithLimit(n), pubsub.WithSubscribeLogger(silent))
	if err != nil {
		t.Fatal(err)
	}
}

// What the filter leaves, and what is no dead letter, stays for later.
func TestRedriveFilter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := pubsub.NewMemory()
		defer b.Close(context.WithoutCancel(t.Context()))
		buryAll(t, b, "t", 10, errors.New("no such plan"))
		if err := b.Publish(t.Context(), &pubsub.Message{Topic: "t.g.dead", ID: "stranger"}); err != nil {
			t.Fatal(err)
		}
		only := func(id string) pubsub.RedriveOption {
			return pubsub.WithRedriveFilter(func(m *pubsub.Message, d pubsub.DeadLetter) bool {
				return m.ID == id && strings.Contains(d.Cause, "no such plan") && d.Group == "g"
			})
		}
		for _, run := range []struct {
			opts []pubsub.RedriveOption
			want int
		}{
			{[]pubsub.RedriveOption{only("7")}, 1},
			{[]pubsub.RedriveOption{only("7")}, 0},
			{[]pubsub.RedriveOption{only("3")}, 1},
			{nil, 8},
			{nil, 0},
		} {
			began := time.Now()
			n, err := pubsub.Redrive(t.Context(), b, "t.g.dead", append(run.opts, pubsub.WithRedriveIdle(time.Minute), pubsub.WithRedriveLogger(silent))...)
			if n != run.want || err != nil {
				t.Errorf("redrove %d, want %d: %v", n, run.want, err)
			}
			if took := time.Since(began); took != time.Minute {
				t.Errorf("it took %v until nothing had come for a minute", took)
			}
		}
	})
}

func TestRedriveFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := pubsub.NewMemory()
		defer b.Close(context.WithoutCancel(t.Context()))
		buryAll(t, b, "t", 3, errors.New("no"))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for name, run := range map[string]struct {
			ctx    context.Context
			broker pubsub.Broker
			topic  string
			opt    pubsub.RedriveOption
			want   string
		}{
			"no broker":   {t.Context(), nil, "t.g.dead", pubsub.WithRedriveIdle(1), "nil Broker"},
			"no option":   {t.Context(), b, "t.g.dead", nil, "nil RedriveOption"},
			"idle":        {t.Context(), b, "t.g.dead", pubsub.WithRedriveIdle(0), "above 0"},
			"name":        {t.Context(), b, "a topic", pubsub.WithRedriveIdle(1), "a topic"},
			"ended":       {ended, b, "t.g.dead", pubsub.WithRedriveIdle(time.Second), "canceled"},
			"rejected":    {t.Context(), refuse{b, pubsub.ErrRejected}, "t.g.dead", pubsub.WithRedriveIdle(time.Second), "rejected"},
			"unreachable": {t.Context(), refuse{b, pubsub.ErrNotSent}, "t.g.dead", pubsub.WithRedriveIdle(time.Second), "deadline"},
		} {
			ctx, cancel := context.WithTimeout(run.ctx, time.Hour)
			n, err := pubsub.Redrive(ctx, run.broker, run.topic, pubsub.WithRedriveLogger(silent), run.opt)
			cancel()
			if n != 0 || err == nil || !strings.Contains(err.Error(), run.want) {
				t.Errorf("%s: redrove %d: %v", name, n, err)
			}
		}
		if n, err := pubsub.Redrive(t.Context(), b, "t.g.dead", pubsub.WithRedriveLogger(silent)); n != 3 || err != nil {
			t.Errorf("redrove %d in the end: %v", n, err)
		}
	})
}

// refuse is a broker that takes no messages.
type refuse struct {
	pubsub.Broker

	err error
}

func (r refuse) Publish(_ context.Context, msgs ...*pubsub.Message) error {
	results := make([]error, len(msgs))
	for i := range results {
		results[i] = r.err
	}
	return &pubsub.PublishError{Results: results}
}
