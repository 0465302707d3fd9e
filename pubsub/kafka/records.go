package kafka

import (
	"sync"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka/internal/wire"
)

// parcel is a batch on its way to a partition.
type parcel struct {
	wire.Part

	server int32          // who has answered
	err    error          // why nobody has
	turn   chan []*parcel // capacity 1: receives nil when there is a result, and else what to send

	headers headerWriter
}

// parcels are used again: partitions that rest hold no memory.
var parcels = sync.Pool{New: func() any { return &parcel{turn: make(chan []*parcel, 1)} }}

// pack puts messages in, one after the other.
func (p *parcel) pack(batch []*entry) {
	p.Batch.Begin()
	for _, e := range batch {
		p.Batch.Add(e.msg.Time.UnixMilli(), e.msg.Key, e.msg.Value, p.headers.write(e.msg))
	}
}

// recordSize is how many bytes m takes in a batch at most, uncompressed.
func recordSize(m *pubsub.Message) int {
	const frame = 32 // length, attributes, time and offset deltas, lengths
	return frame + len(m.Key) + len(m.Value) + headerSize(m)
}
