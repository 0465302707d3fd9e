package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/pubsub"
)

var _ pubsub.TopicEnsurer = (*Broker)(nil)

// EnsureTopics implements [pubsub.TopicEnsurer]. With [WithAutoCreate] it creates
// topics that are missing, as declared, and where nothing is declared as that
// option says. It waits for the cluster until ctx ends, and for the connect
// timeout at most. Its error has a line for each topic that is missing or
// differs.
func (b *Broker) EnsureTopics(ctx context.Context, specs ...pubsub.TopicSpec) error {
	if b.isClosed() {
		return fmt.Errorf("kafka: ensure topics: %w", pubsub.ErrClosed)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, b.connect, fmt.Errorf("connect timeout of %v: %w", b.connect, context.DeadlineExceeded))
	defer cancel()
	var wrong []error
	for _, spec := range specs {
		err := b.ensure(ctx, spec)
		if err == nil {
			continue
		}
		wrong = append(wrong, fmt.Errorf("kafka: ensure topics: %w", err))
		if !isRefusal(err) {
			break // the cluster is away
		}
	}
	return errors.Join(wrong...)
}

// ensure is EnsureTopics for one topic.
func (b *Broker) ensure(ctx context.Context, spec pubsub.TopicSpec) error {
	partitions, err := b.find(ctx, spec)
	if err != nil {
		return err
	}
	var differ []string
	if n := len(partitions); spec.Partitions > 0 && n != spec.Partitions {
		differ = append(differ, fmt.Sprintf("it has %d partitions, and %d are declared", n, spec.Partitions))
	}
	if n := len(partitions[0].Replicas); spec.Replication > 0 && n != spec.Replication {
		differ = append(differ, fmt.Sprintf("it has replication factor %d, and %d is declared", n, spec.Replication))
	}
	if len(spec.Config) > 0 {
		config, err := b.configs(ctx, spec)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(spec.Config)) {
			value, known := config[name]
			switch want := spec.Config[name]; {
			case !known:
				differ = append(differ, fmt.Sprintf("the cluster has no topic config %s, and %q is declared", name, want))
			case value != want:
				differ = append(differ, fmt.Sprintf("%s is %q, and %q is declared", name, value, want))
			}
		}
	}
	if len(differ) > 0 {
		return refusal{fmt.Errorf("topic %s is not as declared: %s: change the topic, or its TopicSpec", spec.Name, strings.Join(differ, "; "))}
	}
	return nil
}

// configs returns the configs of a topic that spec names. One that is new may not
// be known to the server that is asked.
func (b *Broker) configs(ctx context.Context, spec pubsub.TopicSpec) (map[string]string, error) {
	for try := 0; ; try++ {
		config, err := b.describe(ctx, spec)
		switch {
		case err == nil:
			return config, nil
		case refusedUs(err):
			return nil, b.unreachable(err)
		case !temporary(err) && !unknownTopic(err):
			return nil, refusal{fmt.Errorf("topic %s: its configs cannot be read: %w", spec.Name, err)}
		}
		if !pause(ctx, try) {
			return nil, b.unreachable(fmt.Errorf("%w: %w", ended(ctx), err))
		}
	}
}

func (b *Broker) describe(ctx context.Context, spec pubsub.TopicSpec) (map[string]string, error) {
	r, err := b.client.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{{
		ResourceType: kafkago.ResourceTypeTopic,
		ResourceName: spec.Name,
		ConfigNames:  slices.Sorted(maps.Keys(spec.Config)),
	}}})
	if err != nil {
		return nil, err
	}
	config := make(map[string]string)
	for _, resource := range r.Resources {
		if resource.Error != nil {
			return nil, resource.Error
		}
		for _, entry := range resource.ConfigEntries {
			config[entry.ConfigName] = entry.ConfigValue
		}
	}
	return config, nil
}

// declared says how a topic is to be created, in words to follow "create it".
func declared(spec pubsub.TopicSpec) string {
	var words []string
	if spec.Partitions > 0 {
		words = append(words, fmt.Sprintf("%d partitions", spec.Partitions))
	}
	if spec.Replication > 0 {
		words = append(words, fmt.Sprintf("replication factor %d", spec.Replication))
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Config)) {
		words = append(words, name+"="+spec.Config[name])
	}
	if len(words) == 0 {
		return ""
	}
	return " with " + strings.Join(words, ", ")
}
