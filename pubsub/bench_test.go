package pubsub_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/grpc-micro/micro/pubsub"
)

var benchTopic = pubsub.NewTopic[wrapperspb.StringValue]("bench",
	pubsub.WithKey(func(m *wrapperspb.StringValue) string { return m.GetValue() }))

// From a typed publish to its typed handler, per event: publishers and handlers
// run beside each other.
func BenchmarkMemory(b *testing.B) {
	for _, publishers := range []int{1, 2, 8} {
		b.Run("publishers="+strconv.Itoa(publishers), func(b *testing.B) {
			ctx := b.Context()
			broker := pubsub.NewMemory()
			defer broker.Close(ctx)
			events := make([]*wrapperspb.StringValue, 512)
			for i := range events {
				events[i] = wrapperspb.String("key-" + strconv.Itoa(i))
			}
			var handled atomic.Int64
			ready, all, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			ctx, cancel := context.WithCancel(ctx)
			go func() {
				done <- benchTopic.Subscribe(ctx, broker, "group", func(context.Context, *wrapperspb.StringValue) error {
					if handled.Add(1) == int64(b.N) {
						close(all)
					}
					return nil
				}, pubsub.WithReady(func() { close(ready) }))
			}()
			<-ready
			b.ReportAllocs()
			b.ResetTimer()
			failed := make(chan error, publishers)
			for p := range publishers {
				go func() {
					for i := p; i < b.N; i += publishers {
						if err := benchTopic.Publish(ctx, broker, events[i%len(events)]); err != nil {
							failed <- err
							return
						}
					}
					failed <- nil
				}()
			}
			for range publishers {
				if err := <-failed; err != nil {
					b.Fatal(err)
				}
			}
			<-all
			b.StopTimer()
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkTopicMessage(b *testing.B) {
	event := wrapperspb.String("ten bytes.")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := benchTopic.Message(event); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTopicDecode(b *testing.B) {
	m, err := benchTopic.Message(wrapperspb.String("ten bytes."))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := benchTopic.Decode(m); err != nil {
			b.Fatal(err)
		}
	}
}
