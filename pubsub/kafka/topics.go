package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// unknownFor is for how long a topic must be unknown before we believe it: one
// that was just created elsewhere is not known to every server at once.
const unknownFor = time.Second

// partitions returns how many partitions the topic has. If need be it creates
// the topic, waits for the cluster, and asks again, until ctx ends. An error
// that trying again does not cure is a refusal, or says that the servers do not
// let us in.
func (b *Broker) partitions(ctx context.Context, topic string) (int, error) {
	var last error
	var unknownSince time.Time
	for try := 0; ; try++ {
		n, err := b.lookup(ctx, topic)
		if err == nil {
			return n, nil
		}
		unknown := errors.Is(err, kafkago.UnknownTopicOrPartition)
		switch {
		case !unknown:
			unknownSince = time.Time{}
		case b.create:
			if err = b.createTopic(ctx, topic); err == nil && try == 0 {
				continue
			}
		case unknownSince.IsZero():
			unknownSince = time.Now()
		case time.Since(unknownSince) > unknownFor:
			return 0, refusal{fmt.Errorf("topic %s does not exist: create it, or let the broker do it in development (WithAutoCreate, auto_create=1)", topic)}
		}
		switch {
		case err == nil:
		case refusedUs(err):
			return 0, b.unreachable(err)
		case !temporary(err):
			return 0, refusal{fmt.Errorf("topic %s: %w", topic, err)}
		case ctx.Err() == nil:
			last = err
		}
		if !pause(ctx, try) {
			cause := ended(ctx)
			if last != nil {
				cause = fmt.Errorf("%w: %w", cause, last)
			}
			return 0, b.unreachable(cause)
		}
		b.heal() // kafka-go answers from its copy
	}
}

// lookup asks kafka-go's copy of the metadata.
func (b *Broker) lookup(ctx context.Context, topic string) (int, error) {
	m, err := b.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	switch {
	case err != nil:
		return 0, err
	case len(m.Topics) != 1:
		return 0, kafkago.UnknownTopicOrPartition
	case m.Topics[0].Error != nil:
		return 0, m.Topics[0].Error
	case len(m.Topics[0].Partitions) == 0:
		return 0, kafkago.LeaderNotAvailable
	}
	return len(m.Topics[0].Partitions), nil
}

// createTopic creates the topic through the transport that is asked for it
// later: kafka-go then waits until it is known.
func (b *Broker) createTopic(ctx context.Context, topic string) error {
	r, err := b.client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic:             topic,
		NumPartitions:     orDefault(b.newPartitions),
		ReplicationFactor: orDefault(b.newReplicas),
	}}})
	if err != nil {
		return err
	}
	if err := r.Errors[topic]; err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
		return err
	}
	return nil
}

// orDefault turns 0 into the protocol's word for the broker's default.
func orDefault(n int) int {
	if n == 0 {
		return -1
	}
	return n
}
