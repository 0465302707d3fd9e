// Franz is franz-go, without the linger of 10 ms that is its default, for a caller
// that waits for each event would wait for that, and without compression, as the
// others are. Mode "attributes" has it write what micro does: the attributes of
// CloudEvents in each event's headers.
package main

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Publisher: publisher, Consume: consume}.Main() }

func publisher(_ context.Context, c peer.Config, topic string) (func(ctx context.Context, key, value []byte) error, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Broker), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.AllowAutoTopicCreation())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, key, value []byte) error {
		r := &kgo.Record{Topic: topic, Key: key, Value: value}
		if c.Mode == "attributes" {
			r.Headers = attributes()
		}
		return client.ProduceSync(ctx, r).FirstErr()
	}, nil
}

func attributes() []kgo.RecordHeader {
	return []kgo.RecordHeader{
		{Key: "ce_specversion", Value: []byte("1.0")},
		{Key: "ce_id", Value: []byte(rand.Text())},
		{Key: "ce_source", Value: []byte("bench")},
		{Key: "ce_type", Value: []byte("bench.v1.Event")},
		{Key: "ce_time", Value: time.Now().UTC().AppendFormat(nil, time.RFC3339Nano)},
		{Key: "content-type", Value: []byte("application/protobuf")},
	}
}

func consume(ctx context.Context, c peer.Config, topic, group string, handle func()) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Broker), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		fetches.EachRecord(func(*kgo.Record) { handle() })
	}
}
