package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/grpc-micro/micro/pubsub"
)

var _ pubsub.TopicEnsurer = (*Broker)(nil)

// EnsureTopics implements [pubsub.TopicEnsurer]. With [WithAutoCreate] it creates
// the streams of topics that have none, as declared, and where nothing is declared
// as the options say. Of the configs it knows retention.ms, retention.bytes and
// max.message.bytes, which a stream has, too. It waits for a server until ctx
// ends, and for the connect timeout at most. Its error has a line for each topic
// that is missing or differs.
func (b *Broker) EnsureTopics(ctx context.Context, specs ...pubsub.TopicSpec) error {
	if !b.enter() {
		return fmt.Errorf("nats: ensure topics: %w", pubsub.ErrClosed)
	}
	defer b.users.Done()
	ctx, cancel := context.WithTimeoutCause(ctx, b.connect, fmt.Errorf("connect timeout of %v: %w", b.connect, context.DeadlineExceeded))
	defer cancel()
	js, err := b.conn.jetStream(ctx)
	if err != nil {
		return fmt.Errorf("nats: ensure topics: %w", err)
	}
	var wrong []error
	for _, spec := range specs {
		err := b.ensure(ctx, js, spec)
		if err == nil {
			continue
		}
		wrong = append(wrong, fmt.Errorf("nats: ensure topics: %w", err))
		if !hopeless(err) {
			break // the server is away
		}
	}
	return errors.Join(wrong...)
}

// ensure is EnsureTopics for one topic.
func (b *Broker) ensure(ctx context.Context, js jetstream.JetStream, spec pubsub.TopicSpec) error {
	want, err := b.streamConfig(spec)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		t, err := b.lookup(ctx, js, want)
		if err == nil {
			return t.differs(want, spec)
		}
		if hopeless(err) || !pause(ctx, try) {
			return err
		}
	}
}

// streamConfig is the stream of a topic that is to be made.
func (b *Broker) streamConfig(spec pubsub.TopicSpec) (jetstream.StreamConfig, error) {
	partitions := spec.Partitions
	if partitions == 0 {
		partitions = b.partitions
	}
	c := jetstream.StreamConfig{
		Name:        escape(spec.Name),
		Description: "topic " + spec.Name + " of package pubsub",
		Subjects:    []string{spec.Name + ".*"},
		Replicas:    max(spec.Replication, 0),
		Metadata:    map[string]string{partitionsKey: strconv.Itoa(partitions)},
	}
	if c.Replicas == 0 {
		c.Replicas = b.replicas
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Config)) {
		set, known := configs[name]
		if !known {
			return c, refusal{fmt.Errorf("topic %s: a stream has no config %s: it has %s", spec.Name, name, strings.Join(slices.Sorted(maps.Keys(configs)), ", "))}
		}
		n, err := strconv.ParseInt(spec.Config[name], 10, 64)
		if err != nil || n < -1 || n == 0 || name == "max.message.bytes" && n > 1<<31-1 {
			return c, refusal{fmt.Errorf("topic %s: config %s=%q: give a number above 0, or -1 for no limit", spec.Name, name, spec.Config[name])}
		}
		set(&c, n)
	}
	return c, nil
}

// configs are what a stream has of Kafka's topic configs; -1 is no limit.
var configs = map[string]func(c *jetstream.StreamConfig, n int64){
	"retention.ms":      func(c *jetstream.StreamConfig, n int64) { c.MaxAge = time.Duration(max(n, 0)) * time.Millisecond },
	"retention.bytes":   func(c *jetstream.StreamConfig, n int64) { c.MaxBytes = n },
	"max.message.bytes": func(c *jetstream.StreamConfig, n int64) { c.MaxMsgSize = int32(n) },
}

// differs says what of the topic is not as declared.
func (t *topic) differs(want jetstream.StreamConfig, spec pubsub.TopicSpec) error {
	var differ []string
	if n := len(t.subjects); spec.Partitions > 0 && n != spec.Partitions {
		differ = append(differ, fmt.Sprintf("it has %d partitions, and %d are declared", n, spec.Partitions))
	}
	if n := t.config.Replicas; spec.Replication > 0 && n != spec.Replication {
		differ = append(differ, fmt.Sprintf("it has %d replicas, and %d are declared", n, spec.Replication))
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Config)) {
		there, declared := 0, 0
		switch name {
		case "retention.ms":
			there, declared = int(t.config.MaxAge.Milliseconds()), int(want.MaxAge.Milliseconds())
		case "retention.bytes":
			there, declared = int(t.config.MaxBytes), int(want.MaxBytes)
		case "max.message.bytes":
			there, declared = int(t.config.MaxMsgSize), int(want.MaxMsgSize)
		}
		if there != declared {
			differ = append(differ, fmt.Sprintf("%s is %d, and %d is declared", name, there, declared))
		}
	}
	if len(differ) > 0 {
		return refusal{fmt.Errorf("topic %s is not as declared: %s: change the stream %s, or the TopicSpec", t.name, strings.Join(differ, "; "), t.stream)}
	}
	return nil
}
