package kafka_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// Of what other producers write in transactions, only what they have committed
// is delivered; a transaction that stays open holds back what is behind it.
func TestTransactions(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	b := newBroker(t, addrs, kafka.WithAutoCreate(1, 1))
	if err := pubsub.EnsureTopics(t.Context(), b, pubsub.TopicSpec{Name: topic, Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	n := 0
	transaction := func(end kgo.TransactionEndTry) {
		t.Helper()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			n++
			if err := client.ProduceSync(t.Context(), kgo.KeyStringRecord("key", fmt.Sprint(n))).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	transaction(kgo.TryCommit) // 1 to 3
	transaction(kgo.TryAbort)  // 4 to 6
	transaction(kgo.TryCommit) // 7 to 9
	transaction(kgo.TryAbort)  // 10 to 12

	got := make(chan string, 100)
	joined(t, b, topic, "g", func(_ context.Context, d *pubsub.Delivery) error {
		got <- string(d.Value)
		return nil
	})
	for _, want := range []string{"1", "2", "3", "7", "8", "9"} {
		if v := receive(t, got); v != want {
			t.Fatalf("got %s, want %s", v, want)
		}
	}
	transaction(kgo.TryCommit) // 13 to 15
	if err := b.Publish(t.Context(), message(topic, "key", "plain")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"13", "14", "15", "plain"} {
		if v := receive(t, got); v != want {
			t.Fatalf("got %s, want %s", v, want)
		}
	}
}
