package pubsub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// Memory is a broker in this process, for tests and for programs whose services
// all live in one. It behaves as Kafka does: topics have partitions, a key
// always goes to the same one, groups have members that share them and are
// rebalanced, offsets outlive members, and what a member left unfinished is
// delivered to another. A topic is made by its first use, or by
// [EnsureTopics].
//
// Messages are kept as they are and not copied, so what a publisher or a
// handler does to one after the fact, all others see: they are read-only.
//
// Each partition keeps its newest messages, WithRetention of them, for groups
// that come later. It never drops what a group with members has not finished:
// publishing to a full partition waits for them. A group without members does
// not hold it up, and loses what is dropped in the meantime; its next member
// logs how much. Its methods are safe for concurrent use.
type Memory struct {
	cluster *cluster
	done    chan struct{} // closed by Close
	release func()        // gives up a cluster that is shared by name

	mu     sync.Mutex // guards closed, and that no subscription is added after it
	closed bool
	subs   sync.WaitGroup
}

var (
	_ Broker       = (*Memory)(nil)
	_ TopicEnsurer = (*Memory)(nil)
)

// MemoryOption sets something of a Memory.
type MemoryOption func(*memoryOptions)

// WithPartitions sets how many partitions a topic has. Default: 8.
func WithPartitions(n int) MemoryOption { return func(o *memoryOptions) { o.partitions = n } }

// WithRetention sets how many messages a partition keeps. Default: 65536.
func WithRetention(messages int) MemoryOption {
	return func(o *memoryOptions) { o.retention = messages }
}

// NewMemory returns an empty broker that only its holder knows; Open with
// memory://name returns one that is shared by name. An option out of range
// counts as the nearest that is possible.
func NewMemory(opts ...MemoryOption) *Memory {
	o := memoryOptions{partitions: defaultPartitions, retention: defaultRetention}
	for _, opt := range opts {
		opt(&o)
	}
	o.partitions, o.retention = max(o.partitions, 1), max(o.retention, 1)
	return newMemory(newCluster(o), func() {})
}

func newMemory(c *cluster, release func()) *Memory {
	return &Memory{cluster: c, done: make(chan struct{}), release: release}
}

// Publish implements [Publisher]. It blocks only while a partition is full.
func (b *Memory) Publish(ctx context.Context, msgs ...*Message) error {
	if err := Prepare(msgs); err != nil {
		return err
	}
	for i, m := range msgs {
		if err := b.publish(ctx, m); err != nil {
			results := make([]error, len(msgs))
			for j := i; j < len(msgs); j++ {
				results[j] = &outcome{ErrNotSent, err}
			}
			return &PublishError{results}
		}
	}
	return nil
}

func (b *Memory) publish(ctx context.Context, m *Message) error {
	if b.isClosed() {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t := b.cluster.topic(m.Topic)
	n := uint32(len(t.logs))
	var p uint32
	if m.Key == nil {
		p = rand.Uint32N(n) //nolint:gosec // spreads load, hides nothing
	} else {
		p = murmur2(m.Key) & 0x7fffffff % n
	}
	if t.logs[p].append(m) {
		return nil
	}
	return b.publishFull(ctx, t, int(p), m)
}

// publishFull waits until the partition has room.
func (b *Memory) publishFull(ctx context.Context, t *topic, p int, m *Message) error {
	for {
		room, ok := t.logs[p].appendOrWait(m)
		if ok {
			return nil
		}
		select {
		case <-room:
		case <-b.done:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("partition %d of topic %s is full of messages that group %q has not finished: %w",
				p, t.name, t.slowest(p), context.Cause(ctx))
		}
	}
}

// EnsureTopics implements [TopicEnsurer]: a topic that is missing gets the
// partitions that are declared. Replication and Config mean nothing in memory.
func (b *Memory) EnsureTopics(_ context.Context, specs ...TopicSpec) error {
	if b.isClosed() {
		return ErrClosed
	}
	var wrong []error
	for _, s := range specs {
		if n := len(b.cluster.ensure(s.Name, s.Partitions).logs); s.Partitions > 0 && n != s.Partitions {
			wrong = append(wrong, fmt.Errorf("pubsub: topic %s has %d partitions, and %d are declared: ensure it before it is used", s.Name, n, s.Partitions))
		}
	}
	return errors.Join(wrong...)
}

// Close implements [Broker]: it ends the subscriptions that are left with
// [ErrClosed], and waits for them until ctx ends.
func (b *Memory) Close(ctx context.Context) error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.done)
		b.release()
	}
	b.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		b.subs.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("pubsub: close memory broker: its subscriptions have not ended: %w", context.Cause(ctx))
	}
}

func (b *Memory) isClosed() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// enter counts a subscription in; subs.Done ends it.
func (b *Memory) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	b.subs.Add(1)
	return nil
}

const (
	defaultPartitions = 8
	defaultRetention  = 1 << 16
)

type memoryOptions struct{ partitions, retention int }
