package kafka

import (
	"sync"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka/internal/wire"
)

// produceRequest writes messages into a request, one after the other, in memory
// that the next one uses again.
type produceRequest struct {
	wire.Produce

	record wire.Record
	header headerWriter
}

// requests are used again, but those that kafka-go may still be sending.
var requests = sync.Pool{New: func() any { return new(produceRequest) }}

func (r *produceRequest) add(m *pubsub.Message) {
	r.record.Time, r.record.Key, r.record.Value = m.Time.UnixMilli(), m.Key, m.Value
	r.record.Headers = r.header.write(m)
	r.Add(&r.record)
}

// release has the next user of r keep no message alive.
func (r *produceRequest) release() {
	r.record.Key, r.record.Value = nil, nil
	clear(r.record.Headers)
	requests.Put(r)
}

// recordSize is how many bytes m takes in a batch at most, uncompressed.
func recordSize(m *pubsub.Message) int {
	const frame = 32 // length, attributes, time and offset deltas, lengths
	return frame + len(m.Key) + len(m.Value) + headerSize(m)
}
