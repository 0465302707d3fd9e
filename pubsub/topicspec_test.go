package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/grpc-micro/micro/pubsub"
)

func TestTopicSpec(t *testing.T) {
	t.Parallel()
	topic := pubsub.NewTopic[Signup]("declared", pubsub.WithTopicSpec(pubsub.TopicSpec{Partitions: 3, Replication: 2}))
	spec, err := topic.Spec()
	if err != nil || spec.Name != "declared" || spec.Partitions != 3 || spec.Replication != 2 {
		t.Errorf("spec %+v, %v", spec, err)
	}
	for want, declaration := range map[string]pubsub.Declaration{
		"-1 partitions":                 pubsub.NewTopic[Signup]("t", pubsub.WithTopicSpec(pubsub.TopicSpec{Partitions: -1})),
		"replication -1":                pubsub.TopicSpec{Name: "t", Replication: -1},
		"its spec is that of u":         pubsub.NewTopic[Signup]("t", pubsub.WithTopicSpec(pubsub.TopicSpec{Name: "u"})),
		"topic without a name":          pubsub.TopicSpec{},
		"was not made by NewTopic":      pubsub.Topic[Signup]{},
		"ensure topics: nil Declarati":  nil,
		"topic declared is declared tw": topic,
	} {
		err := pubsub.EnsureTopics(t.Context(), pubsub.NewMemory(), topic, declaration)
		if err == nil || !strings.HasPrefix(err.Error(), "pubsub: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("EnsureTopics = %v, want %q", err, want)
		}
	}
	if err := pubsub.EnsureTopics(t.Context(), nil, topic); err == nil {
		t.Error("a nil broker was accepted")
	}
}

// A topic in memory gets the partitions that are declared, and one that has others
// is named.
func TestEnsureTopicsInMemory(t *testing.T) {
	t.Parallel()
	broker := pubsub.NewMemory()
	topic := pubsub.NewTopic[Signup]("declared", pubsub.WithTopicSpec(pubsub.TopicSpec{Partitions: 1}))
	for range 2 {
		if err := pubsub.EnsureTopics(t.Context(), broker, topic, pubsub.TopicSpec{Name: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		if err := broker.Publish(t.Context(), &pubsub.Message{Topic: "declared", Key: []byte(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	err := broker.Subscribe(t.Context(), "declared", "g", func(_ context.Context, d *pubsub.Delivery) error {
		if d.Partition != 0 {
			t.Errorf("key %s is in partition %d", d.Key, d.Partition)
		}
		return nil
	}, pubsub.WithLimit(20))
	if err != nil {
		t.Error(err)
	}
	err = pubsub.EnsureTopics(t.Context(), broker, pubsub.TopicSpec{Name: "declared", Partitions: 2}, pubsub.TopicSpec{Name: "t", Partitions: 3})
	for _, want := range []string{"topic declared has 1 partitions, and 2 are declared", "topic t has 8 partitions, and 3 are declared"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("EnsureTopics = %v, want %q", err, want)
		}
	}
	if err := broker.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := pubsub.EnsureTopics(t.Context(), broker, topic); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("EnsureTopics = %v, want ErrClosed", err)
	}
}
