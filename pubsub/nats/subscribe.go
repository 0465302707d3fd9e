package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/grpc-micro/micro/internal/lanes"
	"github.com/grpc-micro/micro/pubsub"
)

// Subscribe implements [pubsub.Subscriber]. It returns an error if no server
// answers within the connect timeout, or the topic has no stream, and when the
// stream is deleted; apart from that it goes on for ever, whatever happens to
// the cluster.
//
// A planned rebalance repeats nothing. After a crash the group handles again
// what was finished since the last commit, up to a quarter of a second ago.
func (b *Broker) Subscribe(ctx context.Context, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) error {
	sub, err := pubsub.NewSubscription(b, topic, group, h, opts...)
	if err != nil {
		return err
	}
	if !b.enter() {
		return fmt.Errorf("nats: subscribe %s: %w", topic, pubsub.ErrClosed)
	}
	defer b.users.Done()
	err = sub.Run(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s := &subscription{b: b, sub: sub, ctx: ctx, cancel: cancel}
		defer context.AfterFunc(b.ctx, func() { s.fail(pubsub.ErrClosed) })()
		return s.run(ctx)
	})
	if err != nil && !strings.HasPrefix(err.Error(), "pubsub: ") {
		err = fmt.Errorf("nats: subscribe %s: %w", topic, err)
	}
	return err
}

// subscription is a running Subscribe.
type subscription struct {
	b      *Broker
	sub    *pubsub.Subscription
	js     jetstream.JetStream
	topic  *topic
	pool   *lanes.Pool[*pubsub.Delivery]
	ctx    context.Context // that of Subscribe: ends when fetching is to
	cancel context.CancelFunc

	mu      sync.Mutex // guards failure
	failure error      // what ended the subscription
}

// fail ends the subscription with an error.
func (s *subscription) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = cmp.Or(s.failure, err)
	s.cancel()
}

func (s *subscription) run(ctx context.Context) error {
	first, err := s.find(ctx)
	if err != nil {
		return err
	}
	s.pool = lanes.New(ctx, lanes.Config[*pubsub.Delivery]{
		Concurrency: s.sub.Concurrency,
		Window:      s.sub.Window * len(s.topic.subjects), // they share the sequence numbers that it counts
		Handle: func(ctx context.Context, d *pubsub.Delivery, _ int) (time.Duration, error) {
			return s.sub.Handle(ctx, d)
		},
	})
	if s.sub.Group == "" {
		s.broadcast(ctx, first)
	} else {
		err = s.member(ctx, first)
	}
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cancel() // the partitions have had their time
	abandoned := s.pool.Close(late)
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(err, s.failure, s.sub.Abandoned(abandoned))
}

// find waits for a server, and for the topic and that of its dead letters, for
// the connect timeout at most. It returns the sequence number that a subscription
// starts at which has no other.
func (s *subscription) find(ctx context.Context) (first int64, err error) {
	b := s.b
	ctx, cancel := context.WithTimeoutCause(ctx, b.connect, fmt.Errorf("connect timeout of %v: %w", b.connect, context.DeadlineExceeded))
	defer cancel()
	if s.js, err = b.conn.jetStream(ctx); err != nil {
		return 0, err
	}
	for try := 0; ; try++ {
		if first, err = s.tryFind(ctx); err == nil || hopeless(err) {
			return first, err
		}
		if !pause(ctx, try) {
			return 0, fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
	}
}

func (s *subscription) tryFind(ctx context.Context) (first int64, err error) {
	if s.topic, err = s.b.topic(ctx, s.js, s.sub.Topic); err != nil {
		return 0, err
	}
	if dead := s.sub.DeadLetters; dead != "" {
		// That it is missing must not turn out with the first message for it.
		if _, err := s.b.topic(ctx, s.js, dead); err != nil {
			return 0, fmt.Errorf("dead letters: %w", err)
		}
	}
	info, err := s.info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && !info.Created.Equal(s.topic.created) {
		// It was deleted, or made anew, since we looked.
		s.b.topics.Delete(s.sub.Topic)
		if s.topic, err = s.b.topic(ctx, s.js, s.sub.Topic); err == nil {
			info, err = s.info(ctx)
		}
	}
	if err != nil {
		return 0, err
	}
	switch s.sub.Start {
	case pubsub.Last:
		return int64(info.State.LastSeq) + 1, nil
	case pubsub.At:
		return s.since(ctx)
	default:
		return int64(max(info.State.FirstSeq, 1)), nil
	}
}

// since returns the sequence number of the first message of the start time or
// later; behind the last if there is none. The server finds it for a consumer that
// begins there.
func (s *subscription) since(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := s.js.CreateConsumer(ctx, s.topic.stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartTimePolicy,
		OptStartTime:      &s.sub.StartTime,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: idleTimeout,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return 0, fmt.Errorf("topic %s: messages since %v: %w", s.topic.name, s.sub.StartTime, err)
	}
	info := consumer.CachedInfo()
	forget(ctx, s.js, s.topic.stream, info.Name)
	return int64(info.Delivered.Stream) + 1, nil
}

// info asks for the state of the stream.
func (s *subscription) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, s.topic.stream)
	if err != nil {
		return nil, fmt.Errorf("topic %s: stream %s: %w", s.topic.name, s.topic.stream, err)
	}
	return stream.CachedInfo(), nil
}

// broadcast reads all partitions, without a group, until ctx ends.
func (s *subscription) broadcast(ctx context.Context, first int64) {
	q := s.pool.Partition(lanes.Position{Next: first})
	var fetching sync.WaitGroup
	var seen seen
	fetching.Go(func() { s.fetch(ctx, s.topic.name+".*", first, q, &seen) })
	s.sub.Rebalanced(func() []pubsub.PartitionState { return []pubsub.PartitionState{seen.state(0, q, s.b.conn)} })
	s.sub.Ready() // what comes has a higher sequence number than we begin with
	check := time.NewTicker(pubsub.StallCheck)
	defer check.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-check.C:
			s.checkStall(0, q)
		}
	}
	fetching.Wait()
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.sub.DrainTimeout)
	defer cancel()
	q.Drain(deadline)
}

func (s *subscription) checkStall(partition int, q *lanes.Partition[*pubsub.Delivery]) {
	if since := q.Blocked(); since > 0 {
		s.sub.Stalled(partition, q.Position().Next, since)
	}
}

// partitionOf reads it off a subject of the topic; a subject that no partition
// has, of a stray message, is partition 0.
func (s *subscription) partitionOf(subject string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(subject, s.topic.name+"."))
	if err != nil || n < 0 || n >= len(s.topic.subjects) {
		return 0
	}
	return n
}
