package nats

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/grpc-micro/micro/internal/lanes"
	"github.com/grpc-micro/micro/pubsub"
)

const (
	// fetchMessages and fetchBytes bound what is on its way to one reader. A
	// message must fit into the latter, or the reader would stand still.
	fetchMessages = 512
	fetchBytes    = 4 << 20

	// idleTimeout is after how long the server forgets a consumer that nobody
	// asks for messages any more.
	idleTimeout = 30 * time.Second
)

// errGap makes a reader begin again where it was: a message was lost on the way.
var errGap = errors.New("a message is missing")

// tail reads the messages of subject in a stream, by a consumer without
// acknowledgements. from is the sequence number to begin at, or 0 for the newest
// message of each subject. caughtUp is called once when nothing of what there
// was at the beginning is left; it may be nil. tail returns when f fails, or
// something is wrong with the consumer; ctx ends it too.
func tail(ctx context.Context, js jetstream.JetStream, stream, subject string, from int64, caughtUp func(), f func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	config := jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		FilterSubject:     subject,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: idleTimeout,
		MemoryStorage:     true,
		Replicas:          1,
	}
	if from > 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, uint64(from)
	}
	start, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := js.CreateConsumer(start, stream, config)
	if err != nil {
		return fmt.Errorf("read %s: %w", subject, err)
	}
	defer forget(ctx, js, stream, consumer.CachedInfo().Name)
	messages, err := consumer.Messages(
		jetstream.PullMaxMessagesWithBytesLimit(fetchMessages, max(fetchBytes, 2*int(js.Conn().MaxPayload()))),
		jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return fmt.Errorf("read %s: %w", subject, err)
	}
	defer messages.Stop()
	if caughtUp != nil && consumer.CachedInfo().NumPending == 0 {
		caughtUp()
		caughtUp = nil
	}
	for n := uint64(1); ; n++ {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read %s: %w", subject, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", subject, err)
		}
		if meta.Sequence.Consumer != n {
			return errGap
		}
		if err := f(msg, meta); err != nil {
			return err
		}
		if caughtUp != nil && meta.NumPending == 0 {
			caughtUp()
			caughtUp = nil
		}
	}
}

// forget deletes a consumer that is not needed any more; if that fails, the
// server does it after idleTimeout.
func forget(ctx context.Context, js jetstream.JetStream, stream, consumer string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = js.DeleteConsumer(ctx, stream, consumer)
}

// fetch moves the messages of subject into the lanes, from a sequence number on,
// until ctx ends or the partition is drained.
func (s *subscription) fetch(ctx context.Context, subject string, from int64, q *lanes.Partition[*pubsub.Delivery], seen *seen) {
	trouble := newTrouble(s.sub.Logger, "fetching "+subject)
	seen.left.Store(-1)
	for try := 0; ; try++ {
		seen.asked.CompareAndSwap(0, time.Now().UnixNano())
		caughtUp := func() {
			seen.left.Store(0)
			seen.asked.Store(0)
			trouble.is(nil)
		}
		err := tail(ctx, s.js, s.topic.stream, subject, from, caughtUp, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
			offset := int64(meta.Sequence.Stream)
			seen.left.Store(int64(meta.NumPending) + 1)
			seen.asked.Store(0)
			d := &pubsub.Delivery{
				Message:   decode(msg.Headers(), msg.Data(), s.topic.name, meta.Timestamp),
				Group:     s.sub.Group,
				Partition: s.partitionOf(msg.Subject()),
				Offset:    offset,
			}
			if err := q.Add(ctx, offset, d.Key, d); err != nil {
				return err
			}
			seen.left.Add(-1)
			try, from = 0, offset+1
			trouble.is(nil)
			return nil
		})
		if ctx.Err() != nil || errors.Is(err, lanes.ErrDrained) || s.pool.Err() != nil || s.anew(ctx) {
			return
		}
		if !errors.Is(err, errGap) {
			trouble.is(err)
		}
		if !pause(ctx, try) {
			return
		}
	}
}

// seen is what a reader knows of its part of the stream.
type seen struct {
	left  atomic.Int64 // messages that were not fetched yet when the last one was; -1: not known
	asked atomic.Int64 // when a consumer was asked for that has told nothing yet, or the first of several, in nanoseconds of the Unix era; 0: there is one that tells
}

// state returns the state of what a reader reads. Its End is so far behind what
// is fetched as there are messages left: the stream's sequence numbers would count
// those of other partitions, too.
func (s *seen) state(partition int, q *lanes.Partition[*pubsub.Delivery], c *connection) pubsub.PartitionState {
	l := q.State()
	state := pubsub.PartitionState{Partition: partition, Next: l.Next, Fetched: l.End, End: -1, Pending: l.Pending, Standing: l.Standing, Blocked: l.Blocked}
	if left := s.left.Load(); left >= 0 {
		state.End = l.End + left
	}
	// Without a connection nats.go waits in silence.
	for _, since := range []int64{s.asked.Load(), c.away.Load()} {
		if since != 0 {
			state.Silent = max(state.Silent, time.Since(time.Unix(0, since)))
		}
	}
	return state
}

// anew ends the subscription if the stream is not the one that it began with:
// sequence numbers of another one mean other messages.
func (s *subscription) anew(ctx context.Context) bool {
	info, err := s.info(ctx)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		s.b.topics.Delete(s.topic.name)
		s.fail(fmt.Errorf("%w: it was deleted", err))
		return true
	case err == nil && !info.Created.Equal(s.topic.created):
		s.b.topics.Delete(s.topic.name)
		s.fail(fmt.Errorf("topic %s: stream %s was deleted and made anew at %v: subscribe again to begin with it",
			s.topic.name, s.topic.stream, info.Created.Format(time.RFC3339)))
		return true
	}
	return false
}
