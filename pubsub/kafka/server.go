package kafka

import (
	"context"
	"slices"
	"sync"

	"github.com/grpc-micro/micro/pubsub/kafka/internal/wire"
)

const (
	// serverRequests is how many produce requests a server has from us at once.
	// What comes meanwhile, for whatever partition, goes together in the next:
	// so many partitions do not make many small requests.
	serverRequests = 2

	// requestBytes bounds what goes together. Kafka's default limit
	// (socket.request.max.bytes) is 100 MiB.
	requestBytes = 8 * batchBytes
)

// server is one that leads partitions which are published to.
type server struct {
	id int32

	mu       sync.Mutex // guards what follows
	requests int        // under way
	waiting  []*parcel
}

// server returns the one with the ID.
func (b *Broker) server(id int32) *server {
	s, ok := b.servers.Load(id)
	if !ok {
		s, _ = b.servers.LoadOrStore(id, &server{id: id})
	}
	return s.(*server)
}

// send sends p, alone or with others, and returns when there is an answer, or
// with the error if there is none. Whoever has an answer has one of those who came
// meanwhile send the next request, for all of them.
func (s *server) send(b *Broker, p *parcel) error {
	var together []*parcel
	s.mu.Lock()
	if s.requests < serverRequests { // then nothing waits
		s.requests++
		together = []*parcel{p}
	} else {
		s.waiting = append(s.waiting, p)
	}
	s.mu.Unlock()
	if together == nil {
		together = <-p.turn // each request has a deadline
	}
	if together == nil {
		return p.err
	}
	err := b.produce(together)

	s.mu.Lock()
	next := s.take()
	if next == nil {
		s.requests--
	}
	s.mu.Unlock()
	if next != nil {
		next[0].turn <- next
	}
	for _, other := range together {
		if other.err = err; other != p {
			other.turn <- nil
		}
	}
	return err
}

// take returns what goes together next; nil: nothing waits.
func (s *server) take() []*parcel {
	size, n := 0, 0
	for _, p := range s.waiting {
		if size += len(p.Batch.Bytes()); size > requestBytes && n > 0 {
			break
		}
		n++
	}
	if n == 0 {
		return nil
	}
	together := slices.Clone(s.waiting[:n])
	s.waiting = slices.Delete(s.waiting, 0, n)
	return together
}

// produces are requests that are used again, unless kafka-go may still send one.
var produces = sync.Pool{New: func() any { return new(wire.Produce) }}

// produce sends parcels, and notes which server has answered.
func (b *Broker) produce(together []*parcel) error {
	ctx, cancel := context.WithTimeout(b.ctx, requestTimeout)
	defer cancel()
	r := produces.Get().(*wire.Produce)
	r.Begin(b.clientID, requestTimeout)
	for _, p := range together {
		r.Add(&p.Part)
	}
	if _, err := b.transport.RoundTrip(ctx, b.client.Addr, r); err != nil {
		return err
	}
	r.Conclude()
	for _, p := range together {
		p.server = r.Leader()
	}
	produces.Put(r)
	return nil
}
