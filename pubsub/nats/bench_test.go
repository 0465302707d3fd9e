package nats_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/grpc-micro/micro/pubsub"
)

// BenchmarkPublish: calls of one message each, by many goroutines, as the
// handlers of a service make them.
func BenchmarkPublish(b *testing.B) {
	broker := newBroker(b, startServer(b))
	value := make([]byte, 100)
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		key := fmt.Append(nil, n.Add(1))
		for pb.Next() {
			if err := broker.Publish(b.Context(), &pubsub.Message{Topic: "t", Key: key, Value: value}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkPublishBare is the same with nats.go alone.
func BenchmarkPublishBare(b *testing.B) {
	js := client(b, startServer(b))
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "t", Subjects: []string{"t.*"}}); err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 100)
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := js.Publish(b.Context(), "t.1", value); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkSubscribe: a group reads what is there, in key lanes.
func BenchmarkSubscribe(b *testing.B) {
	broker := newBroker(b, startServer(b))
	fill(b, broker)
	b.ReportAllocs()
	b.ResetTimer()
	if err := broker.Subscribe(b.Context(), "t", "g", func(context.Context, *pubsub.Delivery) error { return nil }, pubsub.WithLimit(b.N)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSubscribeBare is the same with nats.go alone, without a group.
func BenchmarkSubscribeBare(b *testing.B) {
	srv := startServer(b)
	fill(b, newBroker(b, srv))
	consumer, err := client(b, srv).OrderedConsumer(b.Context(), "t", jetstream.OrderedConsumerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	messages, err := consumer.Messages()
	if err != nil {
		b.Fatal(err)
	}
	defer messages.Stop()
	for range b.N {
		if _, err := messages.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func fill(b *testing.B, broker pubsub.Broker) {
	b.Helper()
	for n := 0; n < b.N; {
		var msgs []*pubsub.Message
		for ; len(msgs) < 1000 && n < b.N; n++ {
			msgs = append(msgs, &pubsub.Message{Topic: "t", Key: fmt.Append(nil, n%1000), Value: make([]byte, 100)})
		}
		if err := broker.Publish(b.Context(), msgs...); err != nil {
			b.Fatal(err)
		}
	}
}
