// Micro-kafka is a typed topic of package pubsub on Kafka, at its defaults.
package main

import (
	"context"
	"errors"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Publisher: publisher, Consume: consume}.Main() }

func publisher(_ context.Context, c peer.Config, topic string) (func(ctx context.Context, key, value []byte) error, error) {
	broker, err := kafka.New([]string{c.Broker}, kafka.WithAutoCreate(0, 0))
	if err != nil {
		return nil, err
	}
	events := pubsub.NewTopic[pb.SimpleResponse](topic, pubsub.WithSource("bench"),
		pubsub.WithKey(func(e *pb.SimpleResponse) string { return e.GetUsername() }))
	return func(ctx context.Context, key, value []byte) error {
		return events.Publish(ctx, broker, &pb.SimpleResponse{Username: string(key), Payload: &pb.Payload{Body: value}})
	}, nil
}

// consume takes the events as they are, which other producers have written.
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
