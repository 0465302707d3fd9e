package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/pubsub"
)

// unknownFor is for how long a topic must be unknown before we believe it: one
// that was just created elsewhere is not known to every server at once.
const unknownFor = time.Second

// partitions returns how many partitions the topic has, as find does.
func (b *Broker) partitions(ctx context.Context, topic string) (int, error) {
	partitions, err := b.find(ctx, pubsub.TopicSpec{Name: topic})
	return len(partitions), err
}

// find returns the partitions that a topic has. If need be it creates the topic,
// waits for the cluster, and asks again, until ctx ends. An error that trying
// again does not cure is a refusal, or says that the servers do not let us in.
func (b *Broker) find(ctx context.Context, topic pubsub.TopicSpec) ([]kafkago.Partition, error) {
	var last error
	var unknownSince time.Time
	for try := 0; ; try++ {
		partitions, err := b.metadata(ctx, topic.Name)
		if err == nil {
			return partitions, nil
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
		case time.Since(unknownSince) > b.unknownFor:
			return nil, refusal{fmt.Errorf("topic %s does not exist: create it%s, or let the broker do it in development (WithAutoCreate, auto_create=1)", topic.Name, declared(topic))}
		}
		switch {
		case err == nil:
		case refusedUs(err):
			return nil, b.unreachable(err)
		case !temporary(err):
			return nil, refusal{fmt.Errorf("topic %s: %w", topic.Name, err)}
		case ctx.Err() == nil:
			last = err
		}
		if !pause(ctx, try) {
			cause := ended(ctx)
			if last != nil {
				cause = fmt.Errorf("%w: %w", cause, last)
			}
			return nil, b.unreachable(cause)
		}
		b.heal() // kafka-go answers from its copy
	}
}

// lookup returns how many partitions the topic has in kafka-go's copy of the
// metadata.
func (b *Broker) lookup(ctx context.Context, topic string) (int, error) {
	partitions, err := b.metadata(ctx, topic)
	return len(partitions), err
}

// metadata asks kafka-go's copy of the metadata.
func (b *Broker) metadata(ctx context.Context, topic string) ([]kafkago.Partition, error) {
	m, err := b.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	switch {
	case err != nil:
		return nil, err
	case len(m.Topics) != 1:
		return nil, kafkago.UnknownTopicOrPartition
	case m.Topics[0].Error != nil:
		return nil, m.Topics[0].Error
	case len(m.Topics[0].Partitions) == 0:
		return nil, kafkago.LeaderNotAvailable
	}
	return m.Topics[0].Partitions, nil
}

// createTopic creates the topic through the transport that is asked for it
// later: kafka-go then waits until it is known.
func (b *Broker) createTopic(ctx context.Context, topic pubsub.TopicSpec) error {
	config := kafkago.TopicConfig{
		Topic:             topic.Name,
		NumPartitions:     orDefault(cmp.Or(topic.Partitions, b.newPartitions)),
		ReplicationFactor: orDefault(cmp.Or(topic.Replication, b.newReplicas)),
	}
	for _, name := range slices.Sorted(maps.Keys(topic.Config)) {
		config.ConfigEntries = append(config.ConfigEntries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: topic.Config[name]})
	}
	r, err := b.client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{config}})
	if err != nil {
		return err
	}
	if err := r.Errors[topic.Name]; err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
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
