package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/pubsub/kafka/internal/wire"
)

// producer numbers the messages of a partition, so that a batch that is sent
// again is in the log once (KIP-98). The zero value has no ID yet.
type producer struct {
	wire.Producer

	assigned bool // the cluster has given an ID, or none if Known is false
}

// advance counts n messages that the server has taken.
func (p *producer) advance(n int) {
	if left := math.MaxInt32 - p.Sequence; int32(n) > left {
		p.Sequence = int32(n) - left - 1
		return
	}
	p.Sequence += int32(n)
}

// producers gets producers from the cluster. All partitions share one, until
// one of them needs another.
type producers struct {
	b       *Broker
	asking  chan struct{} // capacity 1: held while current is used
	current producer
}

// get returns the current producer, or a new one if that is old, which is unknown
// in a sender that had none yet: 0 is an ID like any other.
func (p *producers) get(ctx context.Context, old producer) (producer, error) {
	select {
	case p.asking <- struct{}{}:
	case <-ctx.Done():
		return old, ended(ctx)
	}
	defer func() { <-p.asking }()
	if p.current.assigned && (!p.current.Known || !old.Known || p.current.ID != old.ID) {
		return p.current, nil
	}
	r := wire.NewInitProducer(p.b.clientID)
	if _, err := p.b.transport.RoundTrip(ctx, p.b.client.Addr, r); err != nil {
		return old, err
	}
	switch {
	case r.Err == nil:
		p.current = producer{Producer: r.Producer, assigned: true}
	case errors.Is(r.Err, kafkago.UnsupportedVersion), errors.Is(r.Err, kafkago.ClusterAuthorizationFailed):
		p.b.logger.Warn("kafka: the cluster gives no producer IDs: a request without an answer is sent again all the same, and its messages may be twice in the log; Kafka before 3.0 wants the right IdempotentWrite on the cluster for that",
			"error", r.Err)
		p.current = producer{assigned: true}
	default:
		return old, fmt.Errorf("producer ID: %w", r.Err)
	}
	return p.current, nil
}

// lostSequence reports that the server cannot tell whether a batch is a
// repetition.
func lostSequence(err error) bool {
	return errors.Is(err, kafkago.OutOfOrderSequenceNumber) ||
		errors.Is(err, kafkago.UnknownProducerId) ||
		errors.Is(err, kafkago.InvalidProducerEpoch)
}

// unsentError is an error that kept a batch from being sent at all.
type unsentError struct{ error }

func (u unsentError) Unwrap() error { return u.error }
