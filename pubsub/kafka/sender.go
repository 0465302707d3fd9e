package kafka

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka/internal/wire"
)

const (
	// batchBytes bounds a request's records, uncompressed. Kafka's default limit
	// (message.max.bytes) is 1 MiB and 12 bytes for what it has compressed.
	batchBytes = 1 << 20

	// queueBytes bounds what waits for a partition; then Publish blocks.
	queueBytes = 16 * batchBytes
)

// sender publishes to one partition: while a request is under way it queues,
// and then sends everything queued in the next. Its goroutine runs as long as
// there is something to send.
type sender struct {
	topic     *topic
	partition int
	wake      chan struct{} // capacity 1: a caller has left

	mu          sync.Mutex // guards what follows, and the entries put here
	first, last *entry     // the queue
	queued      int        // bytes in it
	room        chan struct{}
	running     bool
	inFlight    bool     // a request is under way
	batch       []*entry // what it holds; changed by the goroutine alone
	finished    []*call  // the goroutine's: those that the batch was the last for
	limit       int      // bytes of a batch
	cause       error    // why the last request failed

	producer producer // the goroutine's
	doubtful bool     // the goroutine's: the batch may be in the log already
	server   *server  // the goroutine's: who led the partition; nil: it is to be found out
}

func newSender(t *topic, partition int) *sender {
	return &sender{topic: t, partition: partition, wake: make(chan struct{}, 1), limit: batchBytes}
}

// put queues e. It blocks while the queue is full, until the call's context ends;
// then e's result says so.
func (s *sender) put(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.queued > 0 && s.queued+e.size > queueBytes {
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		var err error
		ctx := e.call.context()
		select {
		case <-room:
		case <-ctx.Done():
			err = ended(ctx)
		}
		s.mu.Lock()
		if err != nil {
			e.finish(s.notSent(e, err))
			return
		}
	}
	if e.overtakes() {
		e.finish(s.notSent(e, errBehind))
		return
	}
	if !s.running {
		if !s.topic.b.enter() {
			e.finish(s.notSent(e, pubsub.ErrClosed))
			return
		}
		s.running = true
		go s.run()
	}
	e.state = queued
	e.prev, e.next = s.last, nil
	if s.last == nil {
		s.first = e
	} else {
		s.last.next = e
	}
	s.last = e
	s.queued += e.size
}

// enter counts a sender's goroutine in, unless the broker is closed.
func (b *Broker) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return false
	}
	b.senders.Add(1)
	return true
}

// overtakes reports whether an earlier message of the call, with the same key,
// has failed already. The caller holds the sender's lock.
func (e *entry) overtakes() bool {
	if e.msg.Key == nil || !e.call.failed.Load() {
		return false
	}
	for i := range e.call.entries {
		before := &e.call.entries[i]
		if before == e {
			return false
		}
		failed := before.sender == nil && before.msg.Topic == e.msg.Topic || // it did not get to a sender
			before.sender == e.sender && before.state == done && before.err != nil
		if failed && before.msg.Key != nil && string(before.msg.Key) == string(e.msg.Key) {
			return true
		}
	}
	return false
}

// withdraw takes e back for a caller that leaves: what is not in a request is
// not sent; of the rest the outcome is unknown.
func (s *sender) withdraw(e *entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		err = fmt.Errorf("%w: %w%s", err, s.cause, remedy(s.cause))
	}
	switch e.state {
	case idle:
		e.finish(s.notSent(e, err))
	case queued:
		s.unlink(e)
		e.finish(s.lost(e, err))
	case sending:
		e.tried = e.tried || s.inFlight
		e.state, e.err = gone, s.lost(e, err)
		select {
		case s.wake <- struct{}{}:
		default:
		}
	case gone, done: // it has its result
	}
}

// unlink takes e out of the queue.
func (s *sender) unlink(e *entry) {
	if e.prev == nil {
		s.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		s.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	s.queued -= e.size
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// run is the sender's goroutine.
func (s *sender) run() {
	defer s.topic.b.senders.Done()
	for s.take() {
		s.deliver()
		s.topic.look()
		// Those who have just got their results may publish again: what they do is
		// to share a request.
		runtime.Gosched()
	}
}

// take moves what fits from the queue into the batch; it is false, and the
// goroutine ends, when nothing is queued.
func (s *sender) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change()
	clear(s.batch)
	s.batch = s.batch[:0]
	size := 0
	for e := s.first; e != nil && (size == 0 || size+e.size <= s.limit); e = s.first {
		s.unlink(e)
		if e.state == queued {
			e.state = sending
		}
		size += e.size
		s.batch = append(s.batch, e)
	}
	s.running = len(s.batch) > 0
	return s.running
}

// notSent and the two below word results.
func (s *sender) notSent(e *entry, cause error) error {
	return s.result(e, pubsub.ErrNotSent, cause)
}

// lost is for a message that was in a batch, and maybe in a request.
func (s *sender) lost(e *entry, cause error) error {
	if e.tried {
		return s.result(e, pubsub.ErrUnknown, cause)
	}
	return s.result(e, pubsub.ErrNotSent, cause)
}

func (s *sender) result(e *entry, kind, cause error) error {
	return fmt.Errorf("%w: kafka: message %s to %s/%d: %w", kind, e.msg.ID, s.topic.name, s.partition, cause)
}

// request sends the batch. rejected holds what was wrong with single messages,
// by their place in the batch, if the server knows.
func (s *sender) request() (rejected map[int]error, err error) {
	rejected, err = s.produce()
	if lostSequence(err) {
		s.topic.b.logger.Warn("kafka: the server has lost count of our messages: they go on by another producer ID, and those of a request without an answer may be twice in the log",
			"topic", s.topic.name, "partition", s.partition, "error", err)
		s.producer.assigned = false
		if err = s.identify(); err == nil {
			rejected, err = s.produce()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight = false
	s.doubtful = err != nil && (s.doubtful || !notAppended(err))
	for _, e := range s.batch {
		e.tried = e.tried || err != nil && !notAppended(err)
	}
	return rejected, err
}

// identify gets a producer ID, if there is none. That is before a request is under
// way: a caller who leaves meanwhile knows that nothing was sent.
func (s *sender) identify() (err error) {
	if s.producer.assigned {
		return nil
	}
	b := s.topic.b
	ctx, cancel := context.WithTimeout(b.ctx, requestTimeout)
	defer cancel()
	if s.producer, err = b.producers.get(ctx, s.producer); err != nil {
		return unsentError{err}
	}
	return nil
}

// produce sends the batch once.
func (s *sender) produce() (rejected map[int]error, err error) {
	b := s.topic.b
	p := parcels.Get().(*parcel)
	p.Topic, p.Number = s.topic.name, int32(s.partition)
	p.pack(s.batch)
	if err := p.Batch.Seal(s.producer.Producer, b.compression); err != nil {
		return nil, unsentError{refusal{err}}
	}
	if err := s.send(p); err != nil {
		return nil, err // and kafka-go may still look at p
	}
	rejected, err = p.Rejected, p.Err
	parcels.Put(p)
	if errors.Is(err, kafkago.DuplicateSequenceNumber) {
		err = nil // the log has it
	}
	if err == nil {
		s.producer.advance(len(s.batch))
	}
	return rejected, err
}

// send sends p to the server that leads the partition: together with others, if
// we know which one it was.
func (s *sender) send(p *parcel) error {
	b := s.topic.b
	if s.server != nil {
		err := s.server.send(b, p)
		if err != nil || !errors.Is(p.Err, wire.ErrElsewhere) {
			s.follow(p, err)
			return err
		}
	}
	err := b.produce([]*parcel{p})
	s.follow(p, err)
	return err
}

// follow has what comes next go together with what that server gets.
func (s *sender) follow(p *parcel, err error) {
	switch {
	case err != nil || p.Err != nil:
		s.server = nil
	case s.server == nil || s.server.id != p.server:
		s.server = s.topic.b.server(p.server)
	}
}

// change says that what comes next is not the same batch again. If the server
// may have that one, it would take what has its numbers for it, and so there
// are new ones. The caller holds the lock.
func (s *sender) change() {
	if s.doubtful {
		s.doubtful, s.producer.assigned = false, false
	}
}
