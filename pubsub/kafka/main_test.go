package kafka_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
	"github.com/grpc-micro/micro/pubsub/pubsubtest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		child(role)
		return
	}
	goleak.VerifyTestMain(m)
}

// newBroker returns a broker that the test closes.
func newBroker(t testing.TB, addrs []string, opts ...kafka.Option) *kafka.Broker {
	t.Helper()
	b, err := kafka.New(addrs, append([]kafka.Option{kafka.WithAutoCreate(4, 1), kafka.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t testing.TB, b pubsub.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait.Patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// startKafka starts a cluster that the test closes, after its brokers.
func startKafka(t testing.TB, opts ...dev.Option) *dev.Kafka {
	t.Helper()
	k, err := dev.StartKafka(t.Context(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return k
}

// addPartitions gives a topic n partitions.
func addPartitions(t testing.TB, addrs []string, topic string, n int32) {
	t.Helper()
	c := &kafkago.Client{Addr: kafkago.TCP(addrs...), Transport: &kafkago.Transport{}}
	defer c.Transport.(*kafkago.Transport).CloseIdleConnections()
	r, err := c.CreatePartitions(t.Context(), &kafkago.CreatePartitionsRequest{Topics: []kafkago.TopicPartitionsConfig{{Name: topic, Count: n}}})
	if err == nil {
		err = r.Errors[topic]
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestConformance runs the suite of all brokers, on the real cluster that
// KAFKA_BROKERS names, or on one in this process.
func TestConformance(t *testing.T) {
	var addrs []string
	if env := os.Getenv("KAFKA_BROKERS"); env != "" {
		addrs = strings.Split(env, ",")
	} else {
		addrs = startKafka(t).Addrs()
	}
	pubsubtest.Run(t, func(t *testing.T) pubsub.Broker {
		b, err := kafka.New(addrs, kafka.WithAutoCreate(4, 1))
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}
