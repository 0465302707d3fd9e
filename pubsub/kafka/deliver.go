package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

var (
	// errBehind is why a message comes back that waited behind a failed one.
	errBehind = errors.New("an earlier message of its key has failed")

	// errShrunk is why messages for a partition come back that is gone.
	errShrunk = errors.New("the topic was made anew with fewer partitions")
)

// deliver sends the batch until every message in it has a result: again and
// again while the failure may pass, in parts while it is too large.
func (s *sender) deliver() {
	for try := 0; ; try++ {
		err := s.identify()
		if !s.prepare(err == nil) {
			return
		}
		if s.topic.b.ctx.Err() != nil {
			s.abort()
			return
		}
		var rejected map[int]error
		if err == nil {
			rejected, err = s.request()
		}
		if unknownTopic(err) {
			err = s.verify(err)
		}
		again, wait := s.conclude(rejected, err)
		if !again {
			return
		}
		s.topic.b.healAfter(err)
		if wait && !s.pause(try) {
			s.abort()
			return
		}
	}
}

// prepare readies the batch for a request, if there is to be one. It leaves out
// messages that were withdrawn before they were in one, and is false when nobody
// waits for the batch any more.
func (s *sender) prepare(request bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.batch[:0]
	for _, e := range s.batch {
		if e.state != gone || e.tried {
			batch = append(batch, e)
		}
	}
	clear(s.batch[len(batch):])
	s.batch = batch
	awaited := s.awaited()
	s.inFlight = request && awaited
	if !awaited {
		s.failBehind(keysOf(s.batch))
	}
	return awaited
}

// awaited reports whether a caller waits for a message of the batch.
func (s *sender) awaited() bool {
	for _, e := range s.batch {
		if e.state == sending {
			return true
		}
	}
	return false
}

// conclude gives results after a request, and says whether to send what is left
// of the batch again, and whether to wait before.
func (s *sender) conclude(rejected map[int]error, err error) (again, wait bool) {
	if err == nil {
		s.succeed()
		return false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cause = err
	switch {
	case tooLarge(err) && len(s.batch) > 1:
		s.split()
		return true, false
	case len(rejected) > 0 && len(rejected) < len(s.batch):
		s.reject(rejected)
		return true, false
	case temporary(err):
		return true, true
	}
	kind := pubsub.ErrRejected
	switch {
	case tooLarge(err):
		err = fmt.Errorf("%w: it has about %d bytes: make it smaller, or raise max.message.bytes of the topic", err, s.batch[0].size)
	case refusedUs(err), errors.Is(err, errShrunk):
		kind = pubsub.ErrNotSent
	}
	keys := keysOf(s.batch)
	for _, e := range s.batch {
		s.giveUp(e, kind, err)
	}
	s.failBehind(keys)
	return false, false
}

// succeed finishes the batch. The callers go on without the lock, which they want
// for their next message.
func (s *sender) succeed() {
	s.mu.Lock()
	s.cause = nil
	for _, e := range s.batch {
		if e.state == sending && e.settle(nil) {
			s.finished = append(s.finished, e.call)
		}
	}
	clear(s.batch) // the callers use the entries again
	s.batch = s.batch[:0]
	s.mu.Unlock()
	for _, c := range s.finished {
		c.done <- struct{}{}
	}
	clear(s.finished)
	s.finished = s.finished[:0]
}

// giveUp finishes e with an error, unless its caller has left. e is not to be
// touched afterwards, because its call may be used again.
func (s *sender) giveUp(e *entry, kind, cause error) {
	switch {
	case e.state != sending && e.state != queued:
	case e.tried:
		e.finish(s.lost(e, cause))
	default:
		e.finish(s.result(e, kind, cause))
	}
}

// split puts the second half of the batch back at the front of the queue, and
// has later batches be smaller.
func (s *sender) split() {
	s.change()
	size := 0
	for _, e := range s.batch {
		size += e.size
	}
	s.limit = max(size/2, 1)
	half := (len(s.batch) + 1) / 2
	for i := len(s.batch) - 1; i >= half; i-- {
		e := s.batch[i]
		if e.state == sending {
			e.state = queued
		}
		e.prev, e.next = nil, s.first
		if s.first == nil {
			s.last = e
		} else {
			s.first.prev = e
		}
		s.first = e
		s.queued += e.size
	}
	clear(s.batch[half:])
	s.batch = s.batch[:half]
}

// reject gives up single messages of the batch, and those behind them with one
// of their keys. The rest of the batch can go on.
func (s *sender) reject(rejected map[int]error) {
	s.change()
	keys := make(map[string]struct{})
	rest := s.batch[:0]
	for i, e := range s.batch {
		_, behind := keys[string(e.msg.Key)]
		behind = behind && e.msg.Key != nil
		if rejected[i] == nil && !behind {
			rest = append(rest, e)
			continue
		}
		if e.msg.Key != nil {
			keys[string(e.msg.Key)] = struct{}{}
		}
		if behind {
			s.giveUp(e, pubsub.ErrNotSent, errBehind)
		} else {
			s.giveUp(e, pubsub.ErrRejected, rejected[i])
		}
	}
	clear(s.batch[len(rest):])
	s.batch = rest
	s.failBehind(keys)
}

// failBehind returns what is queued with one of the keys, of messages that have
// failed for good: it would overtake them.
func (s *sender) failBehind(keys map[string]struct{}) {
	if len(keys) == 0 {
		return
	}
	for e := s.first; e != nil; {
		next := e.next
		if _, behind := keys[string(e.msg.Key)]; behind && e.msg.Key != nil {
			s.unlink(e)
			s.giveUp(e, pubsub.ErrNotSent, errBehind)
		}
		e = next
	}
}

func keysOf(entries []*entry) map[string]struct{} {
	keys := make(map[string]struct{})
	for _, e := range entries {
		if e.msg.Key != nil {
			keys[string(e.msg.Key)] = struct{}{}
		}
	}
	return keys
}

// verify looks whether the topic, which a server or kafka-go did not know, is
// really not there; that is then the error.
func (s *sender) verify(err error) error {
	ctx, cancel := context.WithTimeout(s.topic.b.ctx, requestTimeout)
	defer cancel()
	n, missing := s.topic.b.partitions(ctx, s.topic.name)
	switch {
	case missing != nil:
		return missing
	case s.partition >= n:
		s.topic.looking <- struct{}{}
		s.topic.resize(n)
		<-s.topic.looking
		return refusal{errShrunk}
	}
	return err
}

// pause waits before the next try, but not when nobody waits for the batch any
// more. It is false when the broker was closed and does not want a next try.
func (s *sender) pause(try int) bool {
	t := time.NewTimer(backoff(try))
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return true
		case <-s.topic.b.ctx.Done():
			return false
		case <-s.wake:
			s.mu.Lock()
			awaited := s.awaited()
			s.mu.Unlock()
			if !awaited {
				return true
			}
		}
	}
}

// abort gives everything back when the broker is closed and cannot wait.
func (s *sender) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight = false
	for _, e := range s.batch {
		s.giveUp(e, pubsub.ErrNotSent, pubsub.ErrClosed)
	}
	for s.first != nil {
		e := s.first
		s.unlink(e)
		s.giveUp(e, pubsub.ErrNotSent, pubsub.ErrClosed)
	}
}
