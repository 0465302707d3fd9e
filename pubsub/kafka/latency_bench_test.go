//go:build unix

package kafka_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// BenchmarkPublishToHandler measures how long a message takes from the publish
// call to the handler, one at a time: through a typed topic in a group, and with
// two pairs of kafka-go alone, each message by all three in turn. The ratios are
// those of ours to the two.
func BenchmarkPublishToHandler(b *testing.B) {
	addrs := benchBroker(b)
	payload := make([]byte, 100)
	came := make(chan struct{}) // a message was handled
	pairs := []struct {
		name    string
		publish func() error
		took    []time.Duration
	}{
		{name: "micro", publish: microPair(b, addrs, payload, came)},
		{name: "writer+reader", publish: writerPair(b, addrs, payload, came)},
		{name: "produce+fetch", publish: producePair(b, addrs, payload, came)},
	}
	once := func(publish func() error) time.Duration {
		began := time.Now()
		if err := publish(); err != nil {
			b.Fatal(err)
		}
		<-came
		return time.Since(began)
	}
	for i := range pairs {
		for range 20 { // connects
			once(pairs[i].publish)
		}
	}
	for b.Loop() {
		for i := range pairs {
			pairs[i].took = append(pairs[i].took, once(pairs[i].publish))
		}
	}
	for _, p := range pairs {
		for unit, q := range map[string]float64{"-p50-us": 0.5, "-p99-us": 0.99} {
			b.ReportMetric(float64(quantile(p.took, q).Microseconds()), p.name+unit)
		}
	}
	for _, p := range pairs[1:] {
		b.ReportMetric(float64(quantile(pairs[0].took, 0.5))/float64(quantile(p.took, 0.5)), "x-"+p.name+"-p50")
	}
}

func microPair(b *testing.B, addrs []string, payload []byte, came chan<- struct{}) (publish func() error) {
	b.Helper()
	broker := newBroker(b, addrs, kafka.WithAutoCreate(benchPartitions, 1))
	topic := numberedTopic("micro")
	ctx, cancel := context.WithCancel(b.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- topic.Subscribe(ctx, broker, "micro", func(ctx context.Context, _ *pb.SimpleResponse) error {
			return tellCame(ctx, came)
		}, pubsub.WithReady(func() { close(ready) }), pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler)))
	}()
	b.Cleanup(func() {
		cancel()
		<-ended
	})
	receive(b, ready)
	m := &pb.SimpleResponse{Username: "k", Payload: &pb.Payload{Body: payload}}
	return func() error { return topic.Publish(b.Context(), broker, m) }
}

func tellCame(ctx context.Context, came chan<- struct{}) error {
	select {
	case came <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writerPair is what one writes with kafka-go: a Writer that does not wait for
// more, and a Reader in a group.
func writerPair(b *testing.B, addrs []string, payload []byte, came chan<- struct{}) (publish func() error) {
	b.Helper()
	transport := &kafkago.Transport{}
	w := &kafkago.Writer{Addr: kafkago.TCP(addrs...), Topic: "writer", BatchSize: 1, RequiredAcks: kafkago.RequireAll, Transport: transport, AllowAutoTopicCreation: true}
	publish = func() error {
		return w.WriteMessages(b.Context(), kafkago.Message{Key: []byte("k"), Value: payload})
	}
	created(b, publish)
	r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: addrs, GroupID: "writer", Topic: "writer", MaxWait: 500 * time.Millisecond, CommitInterval: 250 * time.Millisecond, StartOffset: kafkago.FirstOffset})
	reading := make(chan struct{})
	ctx, cancel := context.WithCancel(b.Context())
	go func() {
		defer close(reading)
		for first := true; ; first = false {
			m, err := r.FetchMessage(ctx)
			if err != nil {
				return
			}
			if !first && tellCame(ctx, came) != nil { // the first was to create the topic
				return
			}
			_ = r.CommitMessages(ctx, m)
		}
	}()
	b.Cleanup(func() {
		cancel()
		<-reading
		_ = r.Close()
		_ = w.Close()
		transport.CloseIdleConnections()
	})
	return publish
}

// producePair is the least that kafka-go can do: a request for each message, and a
// loop over one partition.
func producePair(b *testing.B, addrs []string, payload []byte, came chan<- struct{}) (publish func() error) {
	b.Helper()
	transport := &kafkago.Transport{}
	c := &kafkago.Client{Addr: kafkago.TCP(addrs...), Transport: transport}
	response, err := c.CreateTopics(b.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{Topic: "produce", NumPartitions: 1, ReplicationFactor: 1}}})
	if err = errors.Join(err, response.Errors["produce"]); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		for offset := int64(0); ctx.Err() == nil; {
			r, err := c.Fetch(ctx, &kafkago.FetchRequest{Topic: "produce", Offset: offset, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
			if err != nil {
				continue
			}
			for {
				record, err := r.Records.ReadRecord()
				if errors.Is(err, io.EOF) || err != nil {
					break
				}
				_, _ = kafkago.ReadAll(record.Value)
				offset = record.Offset + 1
				if tellCame(ctx, came) != nil {
					return
				}
			}
		}
	}()
	b.Cleanup(func() {
		cancel()
		<-reading
		transport.CloseIdleConnections()
	})
	return func() error {
		r, err := c.Produce(b.Context(), &kafkago.ProduceRequest{
			Topic: "produce", RequiredAcks: kafkago.RequireAll,
			Records: kafkago.NewRecordReader(kafkago.Record{Key: kafkago.NewBytes([]byte("k")), Value: kafkago.NewBytes(payload)}),
		})
		if err != nil {
			return err
		}
		return r.Error
	}
}

// created publishes until the topic is there.
func created(b *testing.B, publish func() error) {
	b.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		err := publish()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}
