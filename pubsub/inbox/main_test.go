package inbox_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/inbox"
	"github.com/grpc-micro/micro/pubsub/pubsubtest"
	"github.com/grpc-micro/micro/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// newRegistry returns a registry that the test closes, after its brokers.
func newRegistry(t testing.TB) *resolver.Memory {
	t.Helper()
	reg := resolver.NewMemory()
	t.Cleanup(func() { _ = reg.Close() })
	return reg
}

// newBroker returns a broker that the test closes.
func newBroker(t testing.TB, reg resolver.Registry, opts ...inbox.Option) *inbox.Broker {
	t.Helper()
	b, err := inbox.New(reg, append([]inbox.Option{inbox.WithInsecure(), inbox.WithLogger(quiet)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t testing.TB, b pubsub.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestConformance runs the suite of all brokers: what a publisher remembers is
// enough for it.
func TestConformance(t *testing.T) {
	reg := newRegistry(t)
	pubsubtest.Run(t, func(t *testing.T) pubsub.Broker {
		b, err := inbox.New(reg, inbox.WithInsecure(), inbox.WithLogger(quiet))
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}

// across publishes with one broker and subscribes with another, as two processes
// do.
type across struct{ pub, sub pubsub.Broker }

func (a across) Publish(ctx context.Context, msgs ...*pubsub.Message) error {
	return a.pub.Publish(ctx, msgs...)
}

func (a across) Subscribe(ctx context.Context, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) error {
	return a.sub.Subscribe(ctx, topic, group, h, opts...)
}

func (a across) Close(ctx context.Context) error {
	return errors.Join(a.pub.Close(ctx), a.sub.Close(ctx))
}

func TestConformanceAcross(t *testing.T) {
	reg := newRegistry(t)
	pubsubtest.Run(t, func(t *testing.T) pubsub.Broker {
		var a across
		for _, to := range []*pubsub.Broker{&a.pub, &a.sub} {
			b, err := inbox.New(reg, inbox.WithInsecure(), inbox.WithLogger(quiet))
			if err != nil {
				t.Fatal(err)
			}
			*to = b
		}
		return a
	})
}
