package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/grpc-micro/micro/pubsub"
)

// errBehind is why a message comes back that waited behind a failed one.
var errBehind = errors.New("an earlier message of its key has failed")

// Publish implements [pubsub.Publisher]. Messages of different keys are sent at
// once; one waits for the acknowledgement of the one of its key before it. What
// was not answered is sent again until ctx ends, and the stream recognizes it by
// its ID. An error is a [pubsub.PublishError].
func (b *Broker) Publish(ctx context.Context, msgs ...*pubsub.Message) error {
	if err := pubsub.Prepare(msgs); err != nil {
		return err
	}
	if len(msgs) == 0 {
		return nil
	}
	if !b.enter() {
		return &pubsub.PublishError{Results: slices.Repeat([]error{fmt.Errorf("%w: %w", pubsub.ErrNotSent, pubsub.ErrClosed)}, len(msgs))}
	}
	defer b.users.Done()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, b.publish, fmt.Errorf("publish timeout of %v: %w", b.publish, context.DeadlineExceeded))
		defer cancel()
	}
	return (&publication{b: b, entries: chains(msgs)}).run(ctx)
}

// publication is one Publish.
type publication struct {
	b       *Broker
	js      jetstream.JetStream
	entries []*outgoing
	failed  bool
}

// outgoing is one message of a Publish.
type outgoing struct {
	msg   *pubsub.Message
	out   *natsgo.Msg
	ack   jetstream.PubAckFuture // of the last try, if it was sent
	tried bool                   // the stream may have it
	done  bool                   // err is the result
	err   error
	prev  *outgoing // of its key, and next one
	next  *outgoing
}

// chains links the messages of each key.
func chains(msgs []*pubsub.Message) []*outgoing {
	all := make([]outgoing, len(msgs))
	entries := make([]*outgoing, len(msgs))
	type place struct{ topic, key string }
	var last map[place]*outgoing
	if len(msgs) > 1 {
		last = make(map[place]*outgoing, len(msgs))
	}
	for i, m := range msgs {
		e := &all[i]
		e.msg, entries[i] = m, e
		if last == nil || m.Key == nil {
			continue
		}
		at := place{m.Topic, string(m.Key)}
		if prev := last[at]; prev != nil {
			prev.next, e.prev = e, prev
		}
		last[at] = e
	}
	return entries
}

// run sends wave after wave: the first message of each key, then the second of
// those whose first is acknowledged, and again what has failed in a way that may
// pass.
func (p *publication) run(ctx context.Context) error {
	wave := slices.DeleteFunc(slices.Clone(p.entries), func(e *outgoing) bool { return e.prev != nil })
	for try := 0; len(wave) > 0; {
		for _, e := range wave {
			p.send(ctx, e)
		}
		var next []*outgoing
		again := false
		for _, e := range wave {
			switch {
			case !e.done && !p.acknowledged(ctx, e):
				again = true
				next = append(next, e)
			case e.next != nil && e.err == nil:
				next = append(next, e.next)
			}
		}
		if wave = next; !again {
			try = 0
			continue
		}
		if !pause(ctx, try) {
			for _, e := range wave {
				p.fail(e, context.Cause(ctx))
			}
			break
		}
		try++
	}
	if !p.failed {
		return nil
	}
	results := make([]error, len(p.entries))
	for i, e := range p.entries {
		results[i] = e.err
	}
	return &pubsub.PublishError{Results: results}
}

// send puts e on its way. It finishes it instead, with an error, if that is
// useless.
func (p *publication) send(ctx context.Context, e *outgoing) {
	e.ack = nil
	if ctx.Err() != nil {
		p.fail(e, context.Cause(ctx))
		return
	}
	if p.js == nil {
		js, err := p.b.conn.jetStream(ctx)
		if err != nil {
			p.refuse(e, pubsub.ErrNotSent, err)
			return
		}
		p.js = js
	}
	if e.out == nil {
		t, err := p.b.topic(ctx, p.js, e.msg.Topic)
		if err != nil {
			e.err = err
			if hopeless(err) {
				p.fail(e, err)
			}
			return
		}
		e.out = encode(e.msg, t.subjects[t.partition(e.msg.Key)])
	}
	ack, err := p.js.PublishMsgAsync(e.out, jetstream.WithRetryAttempts(0))
	e.ack, e.err = ack, err
}

// acknowledged waits for the answer to e, and is false if e is to be sent again.
func (p *publication) acknowledged(ctx context.Context, e *outgoing) bool {
	if e.ack != nil {
		e.err = nil
		select {
		case <-e.ack.Ok():
			e.done = true
			return true
		case e.err = <-e.ack.Err():
			e.tried = e.tried || !notStored(e.err)
		case <-ctx.Done():
			e.tried = true
			p.fail(e, context.Cause(ctx))
			return true
		}
	}
	if hopeless(e.err) {
		p.fail(e, e.err)
		return true
	}
	if errors.Is(e.err, jetstream.ErrNoStreamResponse) {
		p.gone(ctx, e)
	}
	return e.done
}

// gone looks whether the stream that did not answer is really not there.
func (p *publication) gone(ctx context.Context, e *outgoing) {
	p.b.topics.Delete(e.msg.Topic)
	t, err := p.b.topic(ctx, p.js, e.msg.Topic)
	switch {
	case err == nil:
		e.out.Subject = t.subjects[t.partition(e.msg.Key)]
	case hopeless(err):
		p.fail(e, err)
	}
}

// fail finishes e, and what waits behind it. cause may be the end of ctx.
func (p *publication) fail(e *outgoing, cause error) {
	kind := pubsub.ErrRejected
	switch {
	case e.tried:
		kind = pubsub.ErrUnknown
	case !hopeless(cause) || refusedUs(cause):
		kind = pubsub.ErrNotSent
		if e.err != nil && !errors.Is(e.err, cause) {
			cause = fmt.Errorf("%w (%w)", e.err, cause)
		}
	case errors.Is(cause, natsgo.ErrMaxPayload):
		cause = fmt.Errorf("%w: it has about %d bytes: make it smaller, or raise max_payload of the server", cause, e.out.Size())
	}
	p.refuse(e, kind, cause)
}

// refuse gives e its result, and those behind it theirs.
func (p *publication) refuse(e *outgoing, kind, cause error) {
	p.failed = true
	for ; e != nil; e = e.next {
		e.done = true
		e.err = fmt.Errorf("%w: nats: message %s to %s: %w", kind, e.msg.ID, e.msg.Topic, cause)
		kind = pubsub.ErrNotSent
		if !errors.Is(cause, errBehind) {
			cause = fmt.Errorf("%w: %w", errBehind, cause)
		}
	}
}
