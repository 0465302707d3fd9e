//go:build unix

package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// benchBroker starts a broker that is a process of its own, as brokers are, so
// that the figures are the client's.
func benchBroker(b *testing.B) []string {
	b.Helper()
	addr := closedPort(b)
	start(b, "broker", childAddrs+"="+addr)
	return []string{addr}
}

// rates reports messages a second, and the CPU time that the client needs for
// one, which does not depend on what else the machine does.
func rates(b *testing.B, messages int) (stop func()) {
	b.Helper()
	before := cpuTime(b)
	return func() {
		b.Helper()
		b.ReportMetric(float64(messages)/b.Elapsed().Seconds()/1e3, "kmsg/s")
		b.ReportMetric(float64(cpuTime(b)-before)/float64(messages), "cpu-ns/msg")
	}
}

func cpuTime(b *testing.B) int64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// numberedTopic is a typed topic: an event with a key and 100 bytes.
func numberedTopic(name string) pubsub.Topic[pb.SimpleResponse] {
	return pubsub.NewTopic[pb.SimpleResponse](name, pubsub.WithSource("bench"), pubsub.WithKey(func(m *pb.SimpleResponse) string { return m.GetUsername() }))
}

// BenchmarkPublish publishes through a typed topic from 256 goroutines, each
// waiting for its event, beside kafka-go's Writer and franz-go with the settings
// that are best for that: franz-go with the message alone, and with the attributes
// that ours has.
func BenchmarkPublish(b *testing.B) {
	const goroutines = 256
	addrs := benchBroker(b)
	payload := make([]byte, 100)
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Append(nil, "key", i)
	}
	run := func(b *testing.B, publish func(ctx context.Context, key []byte) error) {
		var next atomic.Int64
		b.SetParallelism(goroutines / max(1, runtime.GOMAXPROCS(0)))
		b.ReportAllocs()
		b.ResetTimer()
		defer rates(b, b.N)()
		b.RunParallel(func(pb *testing.PB) {
			ctx, cancel := context.WithCancel(b.Context()) // one of its own, as a handler of a server has
			defer cancel()
			for pb.Next() {
				if err := publish(ctx, keys[int(next.Add(1))%len(keys)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	b.Run("micro", func(b *testing.B) {
		broker := newBroker(b, addrs, kafka.WithAutoCreate(benchPartitions, 1))
		topic, event := numberedTopic("micro"), &pb.Payload{Body: payload}
		run(b, func(ctx context.Context, key []byte) error {
			return topic.Publish(ctx, broker, &pb.SimpleResponse{Username: string(key), Payload: event})
		})
	})
	b.Run("writer", func(b *testing.B) {
		w := &kafkago.Writer{Addr: kafkago.TCP(addrs...), Topic: "writer", BatchTimeout: time.Millisecond, RequiredAcks: kafkago.RequireAll, Balancer: kafkago.Murmur2Balancer{}, Transport: &kafkago.Transport{}, AllowAutoTopicCreation: true}
		defer w.Transport.(*kafkago.Transport).CloseIdleConnections()
		defer w.Close()
		run(b, func(ctx context.Context, key []byte) error {
			return w.WriteMessages(ctx, kafkago.Message{Key: key, Value: payload})
		})
	})
	for name, headers := range map[string]func(int64) []kgo.RecordHeader{"franz": func(int64) []kgo.RecordHeader { return nil }, "franz-attributes": attributes} {
		b.Run(name, func(b *testing.B) {
			client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.AllowAutoTopicCreation())
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			var n atomic.Int64
			run(b, func(ctx context.Context, key []byte) error {
				return client.ProduceSync(ctx, &kgo.Record{Topic: "micro", Key: key, Value: payload, Headers: headers(n.Add(1))}).FirstErr()
			})
		})
	}
}

// attributes are what micro writes beside the value of a message.
func attributes(id int64) []kgo.RecordHeader {
	return []kgo.RecordHeader{
		{Key: "ce_specversion", Value: []byte("1.0")},
		{Key: "ce_id", Value: fmt.Appendf(nil, "0196f0b0-0000-7000-8000-%012d", id)},
		{Key: "ce_source", Value: []byte("bench")},
		{Key: "ce_type", Value: []byte("bench.v1.Event")},
		{Key: "ce_time", Value: time.Now().UTC().AppendFormat(nil, time.RFC3339Nano)},
		{Key: "content-type", Value: []byte("application/protobuf")},
	}
}

// BenchmarkPublishBatch publishes 500 messages a call, from one goroutine.
func BenchmarkPublishBatch(b *testing.B) {
	addrs := benchBroker(b)
	broker := newBroker(b, addrs, kafka.WithAutoCreate(benchPartitions, 1))
	msgs := numbered("t", 0, 500, 100)
	b.ReportAllocs()
	for b.Loop() {
		if err := broker.Publish(b.Context(), msgs...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(msgs))/b.Elapsed().Seconds()/1e3, "kmsg/s")
}

// BenchmarkSubscribe handles what is in the log, as messages and through a typed
// topic, with a handler that does nothing, beside bare loops over kafka-go's
// Client.Fetch: one that reads, and one that decodes the same.
func BenchmarkSubscribe(b *testing.B) {
	addrs := benchBroker(b)
	broker := newBroker(b, addrs, kafka.WithAutoCreate(benchPartitions, 1))
	topic := numberedTopic("t")
	silent := pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler))
	filled := 0
	fill := func(b *testing.B) {
		for ; filled < b.N; filled += 1000 {
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
	consume := func(b *testing.B, subscribe func(ctx context.Context, group string, handled func()) error) {
		fill(b)
		var handled atomic.Int64
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		b.ReportAllocs()
		b.ResetTimer()
		defer rates(b, b.N)()
		if err := subscribe(ctx, fmt.Sprintf("g-%d-%d", b.N, time.Now().UnixNano()), func() {
			if handled.Add(1) == int64(b.N) {
				b.StopTimer() // what follows is the drain
				cancel()
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("micro", func(b *testing.B) {
		consume(b, func(ctx context.Context, group string, handled func()) error {
			return broker.Subscribe(ctx, "t", group, func(context.Context, *pubsub.Delivery) error { handled(); return nil }, silent)
		})
	})
	b.Run("micro-typed", func(b *testing.B) {
		consume(b, func(ctx context.Context, group string, handled func()) error {
			return topic.Subscribe(ctx, broker, group, func(context.Context, *pb.SimpleResponse) error { handled(); return nil }, silent)
		})
	})
	for name, handle := range map[string]func(*kafkago.Record, []byte) error{
		"fetch": func(*kafkago.Record, []byte) error { return nil },
		"fetch-decoding": func(r *kafkago.Record, value []byte) error {
			headers := make(map[string]string, len(r.Headers))
			for _, h := range r.Headers {
				headers[h.Key] = string(h.Value)
			}
			if _, err := time.Parse(time.RFC3339Nano, headers["ce_time"]); err != nil {
				return err
			}
			return proto.Unmarshal(value, new(pb.SimpleResponse))
		},
	} {
		b.Run(name, func(b *testing.B) {
			fill(b)
			b.ReportAllocs()
			b.ResetTimer()
			defer rates(b, b.N)()
			bareLoop(b, addrs, handle)
		})
	}
}

// bareLoop reads b.N messages, headers, keys and values, a goroutine a
// partition.
func bareLoop(b *testing.B, addrs []string, handle func(r *kafkago.Record, value []byte) error) {
	b.Helper()
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	c := &kafkago.Client{Addr: kafkago.TCP(addrs...), Transport: transport}
	ctx, cancel := context.WithCancelCause(b.Context())
	defer cancel(nil)
	var read atomic.Int64
	var readers sync.WaitGroup
	for p := range benchPartitions {
		readers.Go(func() {
			for offset := int64(0); ctx.Err() == nil; {
				r, err := c.Fetch(ctx, &kafkago.FetchRequest{Topic: "t", Partition: p, Offset: offset, MinBytes: 1, MaxBytes: 1 << 20})
				if err != nil {
					cancel(err)
					return
				}
				for {
					record, err := r.Records.ReadRecord()
					if err != nil {
						break
					}
					_, err = kafkago.ReadAll(record.Key)
					value, valueErr := kafkago.ReadAll(record.Value)
					if err = errors.Join(err, valueErr, handle(record, value)); err != nil {
						cancel(err)
						return
					}
					offset = record.Offset + 1
					if read.Add(1) == int64(b.N) {
						cancel(errDone)
					}
				}
			}
		})
	}
	readers.Wait()
	if err := context.Cause(ctx); !errors.Is(err, errDone) {
		b.Error(err)
	}
}

var errDone = errors.New("all were read")
