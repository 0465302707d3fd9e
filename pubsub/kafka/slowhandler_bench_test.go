//go:build unix

package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// BenchmarkSlowHandler handles what is in the log, of a thousand keys in eight
// partitions, with a handler that waits 300 µs, as for a database: through a typed
// topic with the default concurrency and with others. The ratio is that to a loop
// over kafka-go's Reader in a group, which handles one message after the other.
func BenchmarkSlowHandler(b *testing.B) {
	const work = 300 * time.Microsecond
	addrs := benchBroker(b)
	broker := newBroker(b, addrs, kafka.WithAutoCreate(benchPartitions, 1))
	topic := numberedTopic("t")
	filled := 0
	fill := func(b *testing.B, n int) {
		for ; filled < n; filled += 1000 {
			msgs := make([]*pubsub.Message, 1000)
			for i := range msgs {
				var err error
				if msgs[i], err = topic.Message(&pb.SimpleResponse{Username: fmt.Sprint("key", i), Payload: &pb.Payload{Body: make([]byte, 100)}}); err != nil {
					b.Fatal(err)
				}
			}
			if err := broker.Publish(b.Context(), msgs...); err != nil {
				b.Fatal(err)
			}
		}
	}
	const loop = 1000
	fill(b, loop)
	serial := serialLoop(b, addrs, loop, work)
	for _, concurrency := range []int{0, 16, 64, 256} {
		name, opts := "default", []pubsub.SubscribeOption{pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler))}
		if concurrency > 0 {
			name = fmt.Sprint(concurrency)
			opts = append(opts, pubsub.WithConcurrency(concurrency))
		}
		b.Run(name, func(b *testing.B) {
			fill(b, b.N)
			var handled atomic.Int64
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			b.ResetTimer()
			err := topic.Subscribe(ctx, broker, fmt.Sprintf("g-%s-%d", name, b.N), func(context.Context, *pb.SimpleResponse) error {
				time.Sleep(work) // what is measured
				if handled.Add(1) == int64(b.N) {
					b.StopTimer() // what follows is the drain
					cancel()
				}
				return nil
			}, opts...)
			if err != nil {
				b.Fatal(err)
			}
			rate := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate/1e3, "kmsg/s")
			b.ReportMetric(rate/serial, "x-serial")
		})
	}
}

// serialLoop returns how many messages a second a Reader handles, from the first
// one on.
func serialLoop(b *testing.B, addrs []string, n int, work time.Duration) float64 {
	b.Helper()
	r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: addrs, GroupID: "serial", Topic: "t", MaxWait: 100 * time.Millisecond, CommitInterval: 250 * time.Millisecond, StartOffset: kafkago.FirstOffset})
	defer r.Close()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	var began time.Time
	for i := range n {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if i == 0 {
			began = time.Now()
		}
		time.Sleep(work)
		if err := r.CommitMessages(ctx, m); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(began).Seconds()
}
