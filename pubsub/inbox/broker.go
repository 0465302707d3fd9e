package inbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

var _ pubsub.Broker = (*Broker)(nil)

// Broker publishes to subscribers that it finds in a registry, and registers
// its own. Its methods are safe for concurrent use.
type Broker struct {
	options

	reg   resolver.Registry
	log   *pubsub.Memory // what is published here, by topic; a group of it for each that is found
	peers *peers
	hub   *hub

	ctx      context.Context // ends when Close has flushed, or has waited long enough
	cancel   context.CancelFunc
	closed   context.Context // ends when Close begins
	close    context.CancelFunc
	progress chan struct{} // capacity 1: an event was handled somewhere

	mu     sync.Mutex // guards topics, and the groups against an Add after Close has begun
	topics map[string]*topic
	users  sync.WaitGroup // calls of Publish and Subscribe
	work   sync.WaitGroup // watches and forwarders
}

// New returns a broker of the subscribers in reg, which stays the caller's and is
// closed after it. It connects to nobody. The caller closes it.
func New(reg resolver.Registry, opts ...Option) (*Broker, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if reg == nil {
		return nil, errors.New("inbox: nil registry: pass what resolver.Open returns")
	}
	b := &Broker{
		options:  o,
		reg:      reg,
		log:      pubsub.NewMemory(pubsub.WithPartitions(1), pubsub.WithRetention(o.retention)),
		peers:    newPeers(o.client),
		hub:      newHub(o),
		progress: make(chan struct{}, 1),
		topics:   make(map[string]*topic),
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.closed, b.close = context.WithCancel(context.Background())
	return b, nil
}

// Publish implements [pubsub.Publisher]. It returns nil when the events are in
// the memory of this process, from where they are delivered; the package says
// what that is worth. It blocks for the registry when it is the first to a topic,
// and while the topic is full of events that a group has not handled. Its error
// is a [pubsub.PublishError].
func (b *Broker) Publish(ctx context.Context, msgs ...*pubsub.Message) error {
	if err := pubsub.Prepare(msgs); err != nil {
		return err
	}
	for i, m := range msgs {
		if err := check(m); err != nil {
			results := slices.Repeat([]error{fmt.Errorf("%w: inbox: another message of the call was rejected", pubsub.ErrNotSent)}, len(msgs))
			results[i] = fmt.Errorf("%w: inbox: message %s to %s: %w", pubsub.ErrRejected, m.ID, m.Topic, err)
			return &pubsub.PublishError{Results: results}
		}
	}
	if !b.enter() {
		return notSent(len(msgs), 0, pubsub.ErrClosed)
	}
	defer b.users.Done()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, b.publish, fmt.Errorf("publish timeout of %v: %w", b.publish, context.DeadlineExceeded))
		defer cancel()
	}
	for i, m := range msgs {
		if err := b.topic(m.Topic).append(ctx, m); err != nil {
			return notSent(len(msgs), i, fmt.Errorf("message %s to %s: %w", m.ID, m.Topic, err))
		}
	}
	return nil
}

// notSent is the result of a call of n messages, of which those from i on are not
// in the log.
func notSent(n, i int, cause error) error {
	results := make([]error, n)
	for ; i < n; i++ {
		results[i] = fmt.Errorf("%w: inbox: %w", pubsub.ErrNotSent, cause)
	}
	return &pubsub.PublishError{Results: results}
}

// topic returns a topic, and begins to look for its subscribers.
func (b *Broker) topic(name string) *topic {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[name]
	if t == nil {
		t = newTopic(b, name)
		b.topics[name] = t
		b.work.Go(func() { t.watch(b.ctx) })
	}
	return t
}

// Close implements [pubsub.Broker]. It waits, until ctx ends, for the groups that
// have members to handle what was published here, and says what is left. Then
// subscriptions that still run end with [pubsub.ErrClosed].
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	b.close()
	b.mu.Unlock()
	err := b.flush(ctx)
	b.hub.leave()
	users := make(chan struct{})
	go func() {
		defer close(users)
		b.users.Wait()
	}()
	select {
	case <-users:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("inbox: close: a subscription has not ended: %w", context.Cause(ctx)))
	}
	b.cancel()
	b.work.Wait()
	b.hub.close(ctx)
	b.peers.close()
	return errors.Join(err, b.log.Close(ctx))
}

// flush waits until nothing is to be delivered to a group that has members.
func (b *Broker) flush(ctx context.Context) error {
	for {
		left := int64(0)
		b.mu.Lock()
		for _, t := range b.topics {
			left += t.pending()
		}
		b.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-b.progress:
		case <-ctx.Done():
			return fmt.Errorf("inbox: close: %d events were not handled yet: %w", left, context.Cause(ctx))
		}
	}
}

// moved says that flush may look again.
func (b *Broker) moved() {
	select {
	case b.progress <- struct{}{}:
	default:
	}
}

// enter counts a call in; users.Done ends it. It is false once Close has begun.
func (b *Broker) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Err() != nil {
		return false
	}
	b.users.Add(1)
	return true
}

// backoff is how long to wait before try n; 0 is the first one after a failure.
func backoff(n int) time.Duration {
	d := min(10*time.Millisecond<<min(n, 10), time.Second)
	return d/2 + rand.N(d/2) //nolint:gosec // spreads load, hides nothing
}
