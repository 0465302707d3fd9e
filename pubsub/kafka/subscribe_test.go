package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// A handler that outlasts the session timeout, while its group rebalances, does
// not cost its member the partition.
func TestDrainOutlastsTheSession(t *testing.T) {
	t.Parallel()
	const session = 4 * time.Second // or the machine would have to be quick
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1), kafka.WithSessionTimeout(session))
	l := newLedger()
	began := make(chan struct{})
	slow := func(ctx context.Context, d *pubsub.Delivery) error {
		close(began)
		select {
		case <-time.After(session + session/2): // the handler's work
		case <-ctx.Done():
		}
		return l.handle(ctx, d)
	}
	one := joined(t, b, "t", "g", slow)
	if err := b.Publish(t.Context(), message("t", "k", "1")); err != nil {
		t.Fatal(err)
	}
	receive(t, began)
	two := joined(t, b, "t", "g", l.handle)
	one.leave()
	if err := b.Publish(t.Context(), message("t", "k", "2")); err != nil {
		t.Fatal(err)
	}
	l.await(t, 2)
	two.leave()
	if _, again := l.count(); again != 0 {
		t.Errorf("%d messages were handled again", again)
	}
}

// A member that has no partition is not ready either before the group's
// beginning is decided: what is published then would be skipped.
func TestReadyWhenTheGroupIs(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorNotAvailable, Count: 8})
	l := newLedger()
	one := join(t, b, "t", "g", l.handle, pubsub.WithStart(pubsub.Last))
	two := join(t, b, "t", "g", l.handle, pubsub.WithStart(pubsub.Last))
	select {
	case <-one.ready:
	case <-two.ready:
	case <-time.After(wait.Patience):
		t.Fatal("nobody is ready")
	}
	if err := b.Publish(t.Context(), message("t", "k", "1")); err != nil {
		t.Fatal(err)
	}
	l.await(t, 1)
}

// A missing dead-letter topic turns out at once, and not with the first message
// for it.
func TestDeadLetterTopicIsChecked(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	if err := k.Cluster().CreateTopic("t", 1, nil); err != nil {
		t.Fatal(err)
	}
	b, err := kafka.New(k.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	defer closeBroker(t, b)
	err = b.Subscribe(t.Context(), "t", "g", newLedger().handle, pubsub.WithDeadLetter())
	for _, want := range []string{"subscribe t", "dead letters", "topic t.g.dead does not exist", "create it"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
}

func TestSubscribeUnreachable(t *testing.T) {
	t.Parallel()
	for _, group := range []string{"g", ""} {
		for _, addr := range []string{closedPort(t), silentPort(t)} {
			b := newBroker(t, []string{addr}, kafka.WithConnectTimeout(200*time.Millisecond))
			start := time.Now()
			err := b.Subscribe(t.Context(), "t", group, func(context.Context, *pubsub.Delivery) error { return nil })
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			for _, want := range []string{"subscribe t", addr, "check the address", "connect timeout of 200ms"} {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		}
	}
}

func TestCloseEndsSubscriptions(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs())
	group := joined(t, b, "t", "g", newLedger().handle)
	broadcast := joined(t, b, "t", "", newLedger().handle)
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, m := range []*member{group, broadcast} {
		if receive(t, m.ended); !errors.Is(m.err, pubsub.ErrClosed) {
			t.Errorf("Subscribe = %v, want ErrClosed", m.err)
		}
	}
	if err := b.Subscribe(t.Context(), "t", "g", newLedger().handle); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("Subscribe = %v, want ErrClosed", err)
	}
}
