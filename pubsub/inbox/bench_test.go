package inbox_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/inbox"
)

// BenchmarkDeliver: from Publish to the handler in another broker, over gRPC.
func BenchmarkDeliver(b *testing.B) {
	reg := newRegistry(b)
	members, publisher := newBroker(b, reg), newBroker(b, reg, inbox.WithRetention(1<<14))
	done, ready := make(chan error, 1), make(chan struct{})
	go func() {
		done <- members.Subscribe(b.Context(), "t", "g", func(context.Context, *pubsub.Delivery) error { return nil },
			pubsub.WithLimit(b.N), pubsub.WithReady(func() { close(ready) }), pubsub.WithSubscribeLogger(quiet))
	}()
	<-ready
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Append(nil, i)
	}
	value := make([]byte, 100)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := publisher.Publish(b.Context(), &pubsub.Message{Topic: "t", Key: keys[i%len(keys)], Value: value}); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
