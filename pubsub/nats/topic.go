package nats

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/grpc-micro/micro/pubsub"
)

// partitionsKey is the entry of a stream's metadata that says how many
// partitions it has.
const partitionsKey = "micro-partitions"

// topic is what we know of a topic's stream.
type topic struct {
	name     string
	stream   string
	config   jetstream.StreamConfig
	created  time.Time // tells the stream from another one of the name
	subjects []string  // by partition
}

// topic returns what is known of a topic, and asks the server if nothing is.
func (b *Broker) topic(ctx context.Context, js jetstream.JetStream, name string) (*topic, error) {
	if t, ok := b.topics.Load(name); ok {
		return t.(*topic), nil
	}
	c, err := b.streamConfig(pubsub.TopicSpec{Name: name})
	if err != nil {
		return nil, err
	}
	t, err := b.lookup(ctx, js, c)
	if err != nil {
		return nil, err
	}
	known, _ := b.topics.LoadOrStore(name, t)
	return known.(*topic), nil
}

// lookup finds the stream of a topic, and creates it if it may.
func (b *Broker) lookup(ctx context.Context, js jetstream.JetStream, c jetstream.StreamConfig) (*topic, error) {
	name := strings.TrimSuffix(c.Subjects[0], ".*")
	for token := range strings.SplitSeq(name, ".") {
		if token == "" {
			return nil, refusal{fmt.Errorf("topic %s is no subject: no dot may stand at an end, and no two in a row", name)}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := js.StreamNameBySubject(ctx, name+".0")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if !b.create {
			return nil, refusal{fmt.Errorf("topic %s has no stream: create one of the subject %s.* with the metadata %s=N, or let the broker do it in development (WithAutoCreate, auto_create=N)",
				name, name, partitionsKey)}
		}
		return createStream(ctx, js, name, c)
	}
	if err != nil {
		return nil, fmt.Errorf("topic %s: look up its stream: %w", name, err)
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("topic %s: stream %s: %w", name, stream, err)
	}
	return newTopic(name, s.CachedInfo())
}

// createStream is safe to be called by many processes at once: to create what
// is there already, with the same configuration, is no error.
func createStream(ctx context.Context, js jetstream.JetStream, name string, c jetstream.StreamConfig) (*topic, error) {
	s, err := js.CreateStream(ctx, c)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody was faster, and wanted something else
		s, err = js.Stream(ctx, c.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("topic %s: create stream %s: %w", name, c.Name, err)
	}
	return newTopic(name, s.CachedInfo())
}

func newTopic(name string, info *jetstream.StreamInfo) (*topic, error) {
	n, err := strconv.Atoi(info.Config.Metadata[partitionsKey])
	switch {
	case err != nil || n < 1 || n > maxPartitions:
		return nil, refusal{fmt.Errorf("topic %s: stream %s does not say how many partitions it has: give it the metadata %s=N, 1 to %d (nats stream edit %s --metadata %s=N)",
			name, info.Config.Name, partitionsKey, maxPartitions, info.Config.Name, partitionsKey)}
	case info.Config.Retention != jetstream.LimitsPolicy:
		return nil, refusal{fmt.Errorf("topic %s: stream %s has retention %v, and groups need a log: create it with retention limits", name, info.Config.Name, info.Config.Retention)}
	}
	t := &topic{name: name, stream: info.Config.Name, config: info.Config, created: info.Created, subjects: make([]string, n)}
	for p := range t.subjects {
		t.subjects[p] = name + "." + strconv.Itoa(p)
	}
	return t, nil
}

// partition returns where a message goes: one with a key always to the same
// partition, which is the one that partition() of a subject mapping picks.
func (t *topic) partition(key []byte) int {
	if key == nil {
		return rand.IntN(len(t.subjects)) //nolint:gosec // spreads load, hides nothing
	}
	h := fnv.New32a()
	_, _ = h.Write(key)
	return int(h.Sum32() % uint32(len(t.subjects)))
}

// escape makes one token of a name: a stream's name and a part of a key may have
// no dot, and names have no "=".
func escape(name string) string { return strings.ReplaceAll(name, ".", "=") }
