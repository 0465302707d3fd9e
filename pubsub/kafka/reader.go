package kafka

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/internal/lanes"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka/internal/wire"
)

const (
	// fetchBytes bounds a response, but for a single batch that is larger.
	fetchBytes = 1 << 20

	// fetchWait is how long a server holds a request back that it has nothing
	// for.
	fetchWait = time.Second

	// heldBytes bounds what a partition has in memory, whatever its window.
	heldBytes = 16 << 20
)

// reader moves the messages of one partition into its lanes.
type reader struct {
	s         *subscription
	partition int
	next      int64       // offset to fetch
	request   *wire.Fetch // the last one, to be used again; nil: there is none
	headers   headerReader
	trouble   *trouble
	queue     atomic.Pointer[lanes.Partition[*delivery]]

	held  atomic.Int64  // bytes in the lanes
	room  chan struct{} // capacity 1: held is below its bound again
	since atomic.Int64  // when held stopped us, in nanoseconds of the Unix era; 0: it does not

	read atomic.Int64 // next, after a response
	end  atomic.Int64 // of the partition, as the last response had it; -1 before the first

	asked atomic.Int64 // when the request was sent that has no answer, or the first of several, in nanoseconds of the Unix era; 0: there is none

	dirty bool // not committed; the committer's
}

// delivery is a message in the lanes, in one piece.
type delivery struct {
	pubsub.Delivery

	message pubsub.Message
	reader  *reader
	size    int
}

func newReader(s *subscription, partition int, pos lanes.Position) *reader {
	r := &reader{
		s:         s,
		partition: partition,
		next:      pos.Next,
		trouble:   newTrouble(s.log.With("partition", partition), "partition is not read"),
		room:      make(chan struct{}, 1),
		dirty:     true,
	}
	r.queue.Store(s.pool.Partition(pos))
	r.end.Store(-1)
	return r
}

func (r *reader) lanes() *lanes.Partition[*delivery] { return r.queue.Load() }

// changed returns the position, if it is another one than the last that was
// asked for.
func (r *reader) changed() (lanes.Position, bool) {
	select {
	case <-r.lanes().Changed():
	default:
		if !r.dirty {
			return lanes.Position{}, false
		}
	}
	r.dirty = false
	return r.lanes().Position(), true
}

// run reads until ctx ends.
func (r *reader) run(ctx context.Context) {
	for try := 0; ctx.Err() == nil && r.hasRoom(ctx); {
		err := r.fetch(ctx)
		if errors.Is(err, kafkago.OffsetOutOfRange) {
			err = r.restart(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		r.trouble.is(err)
		if err == nil {
			try = 0
			continue
		}
		r.s.b.healAfter(err)
		pause(ctx, try)
		try++
	}
}

// fetch moves one response into the lanes.
func (r *reader) fetch(ctx context.Context) error {
	r.asked.CompareAndSwap(0, time.Now().UnixNano())
	b := r.s.b
	answered, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	f := r.request
	if f == nil {
		f = new(wire.Fetch)
	}
	r.request = nil // kafka-go may still use it if there is no answer
	f.Begin(b.clientID, r.s.sub.Topic, int32(r.partition), r.next, fetchBytes, fetchWait)
	if _, err := b.transport.RoundTrip(answered, b.client.Addr, f); err != nil {
		return err
	}
	r.request = f
	defer f.Free()
	if f.Err != nil {
		return f.Err
	}
	r.asked.Store(0)
	r.end.Store(f.End)
	defer func() { r.read.Store(r.next) }()
	queue := r.lanes()
	for {
		record, err := f.Records.Read()
		if errors.Is(err, io.EOF) {
			r.next = max(r.next, f.Records.Next) // what is no message is behind us too
			return nil
		}
		if err != nil {
			return err
		}
		if record.Offset < r.next {
			continue // its batch began before what we asked for
		}
		d := r.copy(record)
		r.held.Add(int64(d.size))
		if err := queue.Add(ctx, d.Offset, d.Key, d); err != nil {
			return err
		}
		r.next = d.Offset + 1
	}
}

// copy copies a record, whose memory is the request's, into a delivery.
func (r *reader) copy(record *wire.Record) *delivery {
	d := r.headers.delivery()
	d.reader = r
	d.message.Topic = r.s.sub.Topic
	d.Message = &d.message
	d.Group, d.Partition, d.Offset = r.s.sub.Group, r.partition, record.Offset
	d.Key, d.Value = r.headers.clone(record.Key), r.headers.clone(record.Value)
	r.headers.read(record.Headers, time.UnixMilli(record.Time), &d.message)
	d.size = len(d.Key) + len(d.Value) + 512 // about what the rest takes
	return d
}

// hasRoom waits until the partition holds less than its bound; it is false when
// ctx has ended.
func (r *reader) hasRoom(ctx context.Context) bool {
	for r.held.Load() >= heldBytes {
		r.since.CompareAndSwap(0, time.Now().UnixNano())
		select {
		case <-r.room:
		case <-ctx.Done():
			return false
		}
	}
	r.since.Store(0)
	return true
}

// release says that a message of so many bytes is finished.
func (r *reader) release(size int) {
	held := r.held.Add(-int64(size))
	if held < heldBytes && held+int64(size) >= heldBytes {
		select {
		case r.room <- struct{}{}:
		default:
		}
	}
}

// state returns the partition's state.
func (r *reader) state() pubsub.PartitionState {
	s := r.lanes().State()
	return pubsub.PartitionState{
		Partition: r.partition,
		Next:      s.Next,
		Fetched:   max(s.End, r.read.Load()),
		End:       r.end.Load(),
		Pending:   s.Pending,
		Standing:  s.Standing,
		Blocked:   max(s.Blocked, sinceUnix(r.since.Load())),
		Silent:    max(0, sinceUnix(r.asked.Load())-fetchWait), // so long a server that has nothing may take
	}
}

// sinceUnix returns how long ago it was; 0 was never.
func sinceUnix(nanoseconds int64) time.Duration {
	if nanoseconds == 0 {
		return 0
	}
	return time.Since(time.Unix(0, nanoseconds))
}

// report has the states of readers be those of the subscription.
func (s *subscription) report(readers []*reader) {
	s.sub.Rebalanced(func() []pubsub.PartitionState {
		states := make([]pubsub.PartitionState, len(readers))
		for i, r := range readers {
			states[i] = r.state()
		}
		return states
	})
}

// restart goes on at the oldest message that there is, and says what was lost,
// after the offset to fetch has turned out to be none of the partition's.
func (r *reader) restart(ctx context.Context) error {
	first, err := r.s.offsets(ctx, []int{r.partition}, pubsub.First)
	if err != nil {
		return err
	}
	last, err := r.s.offsets(ctx, []int{r.partition}, pubsub.Last)
	if err != nil {
		return err
	}
	from, to, lost := first[r.partition], last[r.partition], r.next
	switch {
	case lost < from:
		r.s.log.Error("kafka: messages were deleted before they were handled (retention)",
			"partition", r.partition, "from", lost, "to", from-1, "lost", from-lost)
	case lost > to:
		r.s.log.Error("kafka: the partition ends before the group's position: the topic was made anew, or has lost messages; reading starts again at the oldest",
			"partition", r.partition, "position", lost, "end", to, "oldest", from)
		drain, cancel := context.WithTimeout(ctx, r.s.sub.DrainTimeout)
		defer cancel()
		r.lanes().Drain(drain)
		r.held.Store(0)
		r.queue.Store(r.s.pool.Partition(lanes.Position{Next: from}))
		r.read.Store(from)
		r.end.Store(-1)
	default:
		return kafkago.OffsetOutOfRange // it is there by now: try again
	}
	r.next = from
	return nil
}
