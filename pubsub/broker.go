package pubsub

import "context"

// Publisher sends messages.
type Publisher interface {
	// Publish blocks until the broker has every message, and then returns
	// nil, or until ctx ends or the broker refuses; then it returns a
	// *PublishError with a result for each message. Messages of one key
	// arrive in the order of the calls, and of msgs within a call. It fills in
	// an empty ID and a zero Time; apart from that msgs are not changed, and
	// must not be after. Safe for concurrent use.
	Publish(ctx context.Context, msgs ...*Message) error
}

// Subscriber receives messages.
type Subscriber interface {
	// Subscribe hands the messages of topic to h until ctx ends, or until it
	// cannot go on. Members of one group share the messages; an empty group is
	// a broadcast, in which every subscriber gets every message from when it
	// is ready.
	//
	// Delivery is at least once: a message is acknowledged when h returned nil
	// for it, or when it is in the dead-letter topic. Messages of one key are
	// handled one at a time in order, those of many keys at once
	// (WithConcurrency), those without a key in any order.
	//
	// When ctx ends, Subscribe stops fetching, lets the handlers in hand finish
	// (their context ends at the drain deadline), acknowledges what they
	// finished, leaves the group and returns nil. Safe for concurrent use.
	Subscribe(ctx context.Context, topic, group string, h Handler, opts ...SubscribeOption) error
}

// Broker is what Open and the drivers return. Whoever opened it closes it,
// after its subscriptions have ended.
type Broker interface {
	Publisher
	Subscriber

	// Close refuses further messages, flushes those in hand until ctx ends, and
	// lets go of connections. Messages that could not be flushed come back
	// from their Publish calls.
	Close(ctx context.Context) error
}

// Handler handles one message. A nil error acknowledges it; with another error
// it is tried again later, in its key's lane; Permanent says that trying again
// is useless. ctx ends at the drain deadline, not when fetching stops.
type Handler func(ctx context.Context, d *Delivery) error

// Middleware wraps a Handler.
type Middleware func(Handler) Handler
