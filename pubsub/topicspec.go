package pubsub

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// TopicSpec is what a topic is to be on the broker. What is left zero is as the
// broker has it. A [Topic] has one by [WithTopicSpec]; for a topic without events
// of its own, as that of dead letters, write one:
//
//	pubsub.TopicSpec{Name: "greeter.greeted.mailer.dead", Partitions: 1}
type TopicSpec struct {
	Name        string            // filled in by the Topic that it belongs to
	Partitions  int               // what is published with a key goes to one of them
	Replication int               // copies of each partition; Kafka alone has them
	Config      map[string]string // topic configs of Kafka: "retention.ms": "604800000"
}

// Declaration is a topic that is declared: a [Topic] of any type, or a
// [TopicSpec].
type Declaration interface{ Spec() (TopicSpec, error) }

// WithTopicSpec says what the topic is to be on the broker, for [EnsureTopics].
// Default: a topic that exists.
func WithTopicSpec(s TopicSpec) TopicOption {
	return topicOption(func(o *topicOptions) { o.spec = s })
}

// Spec implements [Declaration].
func (t Topic[T]) Spec() (TopicSpec, error) {
	s, err := t.resolve()
	if err != nil {
		return TopicSpec{}, err
	}
	return s.declared, nil
}

// Spec implements [Declaration].
func (s TopicSpec) Spec() (TopicSpec, error) { return s, s.check() }

func (s TopicSpec) check() error {
	if err := checkName("topic", s.Name); err != nil {
		return err
	}
	switch {
	case s.Partitions < 0:
		return fmt.Errorf("pubsub: topic %s: %d partitions: declare 1 or more, or 0 for what the broker has", s.Name, s.Partitions)
	case s.Replication < 0:
		return fmt.Errorf("pubsub: topic %s: replication %d: declare 1 or more, or 0 for what the broker has", s.Name, s.Replication)
	}
	return nil
}

// TopicEnsurer is a [Broker] whose topics are made before they are used.
type TopicEnsurer interface {
	// EnsureTopics is what [EnsureTopics] does. Names are unique, and checked.
	EnsureTopics(ctx context.Context, specs ...TopicSpec) error
}

// EnsureTopics sees to it that topics exist and are as declared. A service calls
// it at its start, before it publishes or subscribes:
//
//	err := pubsub.EnsureTopics(ctx, broker, orders.Placed, orders.Shipped)
//
// A broker that creates topics (auto_create of Kafka, for development; memory
// always) creates those that are missing, as declared. One that does not, for
// production, changes nothing: what is missing or differs is its error, every
// topic and what is wrong with it. A topic that exists is never changed.
//
// It blocks until the broker has answered or ctx ends. On a broker whose topics
// come into being by their use alone, which is no [TopicEnsurer], it only checks
// the declarations.
func EnsureTopics(ctx context.Context, b Broker, topics ...Declaration) error {
	if b == nil {
		return errors.New("pubsub: ensure topics: nil Broker")
	}
	specs := make([]TopicSpec, 0, len(topics))
	for _, t := range topics {
		if t == nil {
			return errors.New("pubsub: ensure topics: nil Declaration")
		}
		spec, err := t.Spec()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(specs, func(s TopicSpec) bool { return s.Name == spec.Name }) {
			return fmt.Errorf("pubsub: ensure topics: topic %s is declared twice", spec.Name)
		}
		specs = append(specs, spec)
	}
	e, ok := b.(TopicEnsurer)
	if !ok || len(specs) == 0 {
		return nil
	}
	return e.EnsureTopics(ctx, specs...)
}
