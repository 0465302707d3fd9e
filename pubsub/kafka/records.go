package kafka

import (
	"bytes"
	"io"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/pubsub"
)

// records gives messages to kafka-go's encoder, one after the other, in memory
// that the next one uses again: the encoder is done with a record when it asks
// for the next.
type records struct {
	msgs   []*pubsub.Message
	next   int
	record kafkago.Record
	key    payload
	value  payload
	header headerWriter
}

func (r *records) ReadRecord() (*kafkago.Record, error) {
	if r.next == len(r.msgs) {
		return nil, io.EOF
	}
	m := r.msgs[r.next]
	r.next++
	r.record = kafkago.Record{Time: m.Time, Headers: r.header.write(m)}
	if m.Key != nil {
		r.key.Reset(m.Key)
		r.record.Key = &r.key
	}
	if m.Value != nil {
		r.value.Reset(m.Value)
		r.record.Value = &r.value
	}
	return &r.record, nil
}

// payload is a kafkago.Bytes.
type payload struct{ bytes.Reader }

func (*payload) Close() error { return nil }

// recordSize is how many bytes m takes in a batch at most, uncompressed.
func recordSize(m *pubsub.Message) int {
	const frame = 32 // length, attributes, time and offset deltas, lengths
	return frame + len(m.Key) + len(m.Value) + headerSize(m)
}
