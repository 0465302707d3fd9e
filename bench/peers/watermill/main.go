// Watermill is watermill-kafka at its defaults, with keys.
package main

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Publisher: publisher, Consume: consume}.Main() }

const keyHeader = "key"

func publisher(_ context.Context, c peer.Config, topic string) (func(ctx context.Context, key, value []byte) error, error) {
	key := func(_ string, m *message.Message) (string, error) { return m.Metadata.Get(keyHeader), nil }
	p, err := kafka.NewPublisher(kafka.PublisherConfig{
		Brokers: []string{c.Broker}, Marshaler: kafka.NewWithPartitioningMarshaler(key),
	}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, key, value []byte) error {
		m := message.NewMessage(watermill.NewUUID(), value)
		m.Metadata.Set(keyHeader, string(key))
		return p.Publish(topic, m)
	}, nil
}

func consume(ctx context.Context, c peer.Config, topic, group string, handle func()) error {
	config := kafka.DefaultSaramaSubscriberConfig()
	config.Consumer.Offsets.Initial = -2 // the start: a new group has none
	s, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: []string{c.Broker}, Unmarshaler: kafka.DefaultMarshaler{}, ConsumerGroup: group,
		OverwriteSaramaConfig: config,
	}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	messages, err := s.Subscribe(ctx, topic)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	for m := range messages {
		handle()
		m.Ack()
	}
	return s.Close()
}
