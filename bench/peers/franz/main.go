// Franz is franz-go, without the linger of 10 ms that is its default: a caller
// that waits for each event would wait for that.
package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Publisher: publisher, Consume: consume}.Main() }

func publisher(_ context.Context, c peer.Config, topic string) (func(ctx context.Context, key, value []byte) error, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Broker), kgo.ProducerLinger(0), kgo.AllowAutoTopicCreation())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, key, value []byte) error {
		return client.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: key, Value: value}).FirstErr()
	}, nil
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
