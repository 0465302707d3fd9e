// Micro-kafka is package pubsub on Kafka, at its defaults.
package main

import (
	"context"
	"errors"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Publisher: publisher, Consume: consume}.Main() }

func publisher(_ context.Context, c peer.Config, topic string) (func(ctx context.Context, key, value []byte) error, error) {
	broker, err := kafka.New([]string{c.Broker}, kafka.WithAutoCreate(8, 1))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, key, value []byte) error {
		return broker.Publish(ctx, &pubsub.Message{
			Topic: topic, Key: key, Value: value,
			Type: "bench.v1.Event", Source: "bench", ContentType: "application/protobuf",
		})
	}, nil
}

func consume(ctx context.Context, c peer.Config, topic, group string, handle func()) error {
	broker, err := kafka.New([]string{c.Broker})
	if err != nil {
		return err
	}
	err = broker.Subscribe(ctx, topic, group, func(context.Context, *pubsub.Delivery) error {
		handle()
		return nil
	})
	return errors.Join(err, broker.Close(context.WithoutCancel(ctx)))
}
