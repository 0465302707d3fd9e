package pubsub

import (
	"bytes"
	"slices"
	"time"
)

// Message is one event. Its fields are the context attributes of CloudEvents
// 1.0 and what Kafka adds to them; they are fields and not header entries
// because a map of seven costs a third of the throughput.
//
// A Message is read-only once it was published or delivered.
type Message struct {
	ID          string    // unique within Source; CloudEvents id. Publishing fills in an empty one
	Type        string    // what happened; a proto full name: CloudEvents type
	Source      string    // who says so; CloudEvents source
	Subject     string    // optional: what it happened to; CloudEvents subject
	Topic       string    // where it is published to, or was read from
	ContentType string    // how Value is encoded: "application/protobuf"
	Key         []byte    // messages of one key stay in order; nil: no order
	Value       []byte    // nil is a tombstone ("the key is gone"), empty is an event without fields
	Time        time.Time // when it happened; CloudEvents time. Publishing fills in a zero one
	Header      Header    // what has no field: trace context, extensions, foreign headers
}

// Header holds attributes in order. Kafka allows repeats, and so does it.
type Header []Attr

// Attr is one attribute of a Header.
type Attr struct {
	Key   string
	Value []byte
}

// Get returns the last value of key, as Kafka's lastHeader does, or nil.
func (h Header) Get(key string) []byte {
	for _, a := range slices.Backward(h) {
		if a.Key == key {
			return a.Value
		}
	}
	return nil
}

// Values returns every value of key, in order.
func (h Header) Values(key string) [][]byte {
	var values [][]byte
	for _, a := range h {
		if a.Key == key {
			values = append(values, a.Value)
		}
	}
	return values
}

// Set replaces every value of key by one.
func (h *Header) Set(key string, value []byte) {
	*h = append(slices.DeleteFunc(*h, func(a Attr) bool { return a.Key == key }), Attr{key, bytes.Clone(value)})
}

// Delivery is a message on its way to a handler: where it was read, and how
// often it was tried. It is the handler's until that returns; the Message in
// it may be kept.
type Delivery struct {
	*Message

	Group     string // "" for a broadcast
	Partition int
	Offset    int64
	Attempt   int // 1 on the first try

	moving  *move    // not nil once it was given up here
	delayed *delayed // what it was, of a message in a retry topic
	handled bool     // Dedup has yet to mark it
}
