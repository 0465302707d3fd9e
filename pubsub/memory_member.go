package pubsub

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/grpc-micro/micro/internal/lanes"
)

// member is a running subscription.
type member struct {
	sub     *Subscription
	topic   *topic
	group   *memoryGroup
	changed chan struct{} // capacity 1: look at the assignment again

	pool    *lanes.Pool[*Delivery]
	readers map[int]*memoryReader // by partition; the subscription's goroutine alone
	drains  sync.WaitGroup
}

// Subscribe implements [Subscriber].
func (b *Memory) Subscribe(ctx context.Context, topic, group string, h Handler, opts ...SubscribeOption) error {
	sub, err := NewSubscription(b, topic, group, h, opts...)
	if err != nil {
		return err
	}
	if err := b.enter(); err != nil {
		return err
	}
	defer b.subs.Done()
	return sub.Run(ctx, func(ctx context.Context) error {
		m := &member{
			sub:     sub,
			topic:   b.cluster.topic(topic),
			changed: make(chan struct{}, 1),
			readers: make(map[int]*memoryReader),
			pool: lanes.New(ctx, lanes.Config[*Delivery]{
				Concurrency: sub.Concurrency,
				Window:      sub.Window,
				Handle: func(ctx context.Context, d *Delivery, _ int) (time.Duration, error) {
					return sub.Handle(ctx, d)
				},
			}),
		}
		return m.run(ctx, b.done)
	})
}

// run reads the partitions that the group assigns to m until ctx ends or the
// broker is closed, and then drains them.
func (m *member) run(ctx context.Context, closed <-chan struct{}) (err error) {
	m.topic.join(m)
	m.sub.Ready()
	for stop := false; !stop; {
		select {
		case <-m.changed:
			m.rebalance(ctx)
		case <-ctx.Done():
			stop = true
		case <-closed:
			stop, err = true, ErrClosed
		}
	}
	m.topic.leave(m)
	for p := range m.readers {
		m.drop(ctx, p)
	}
	m.drains.Wait()
	m.topic.left(m)
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cancel() // the partitions have had their time
	if gone := m.sub.Abandoned(m.pool.Close(late)); err == nil {
		err = gone
	}
	return err
}

// rebalance begins to give away what is to go, and to read what has come.
func (m *member) rebalance(ctx context.Context) {
	positions, taken, drop := m.topic.changes(m)
	for _, p := range drop {
		m.drop(ctx, p)
	}
	for i, p := range taken {
		m.readers[p] = newMemoryReader(ctx, m, p, positions[i])
	}
	if len(taken) > 0 || len(drop) > 0 {
		readers := slices.Collect(maps.Values(m.readers))
		m.sub.Rebalanced(func() []PartitionState {
			states := make([]PartitionState, len(readers))
			for i, r := range readers {
				states[i] = r.state()
			}
			return states
		})
	}
}

// drop drains partition p in the background, and then gives it away.
func (m *member) drop(ctx context.Context, p int) {
	r := m.readers[p]
	if r == nil {
		return // is being drained already
	}
	delete(m.readers, p)
	m.drains.Go(func() {
		deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.sub.DrainTimeout)
		defer cancel()
		r.stop()
		r.queue.Drain(deadline)
		m.topic.give(m, p, r.queue.Position())
	})
}

// memoryReader moves the messages of one partition into the lanes.
type memoryReader struct {
	member    *member
	partition int
	queue     *lanes.Partition[*Delivery]
	cancel    context.CancelFunc
	ended     sync.WaitGroup
}

func newMemoryReader(ctx context.Context, m *member, p int, from lanes.Position) *memoryReader {
	r := &memoryReader{member: m, partition: p, queue: m.pool.Partition(from)}
	ctx, r.cancel = context.WithCancel(ctx)
	r.ended.Go(func() { r.read(ctx, from.Next) })
	r.ended.Go(func() { r.commit(ctx) })
	return r
}

func (r *memoryReader) state() PartitionState {
	s := r.queue.State()
	_, end := r.member.topic.logs[r.partition].bounds()
	return PartitionState{Partition: r.partition, Next: s.Next, Fetched: s.End, End: end, Pending: s.Pending, Standing: s.Standing, Blocked: s.Blocked}
}

func (r *memoryReader) stop() {
	r.cancel()
	r.ended.Wait()
}

// readBatch is how many messages are taken from the log at once, and share an
// allocation.
const readBatch = 64

func (r *memoryReader) read(ctx context.Context, offset int64) {
	wake := make(chan struct{}, 1)
	batch := make([]*Message, readBatch)
	log := r.member.topic.logs[r.partition]
	for {
		first, n := log.read(ctx, offset, batch, wake)
		deliveries := make([]Delivery, n)
		for i := range deliveries {
			d := &deliveries[i]
			d.Message, d.Group, d.Partition, d.Offset = batch[i], r.member.sub.Group, r.partition, first+int64(i)
			if r.queue.Add(ctx, d.Offset, d.Key, d) != nil {
				return // ctx ended, or the subscription has failed
			}
		}
		if n == 0 {
			return
		}
		offset = first + int64(n)
	}
}

// commitInterval is the pause between two commits of a partition. A commit lets
// the log drop messages; what a next owner needs is taken when this one drains.
const commitInterval = 20 * time.Millisecond

func (r *memoryReader) commit(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for received(ctx, r.queue.Changed()) && received(ctx, pause.C) {
		r.member.topic.commit(r.member, r.partition, r.queue.Position())
		pause.Reset(commitInterval)
	}
}

// received waits for c; it is false if ctx ended first.
func received[T any](ctx context.Context, c <-chan T) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}
