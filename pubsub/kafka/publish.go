package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

// Publish implements [pubsub.Publisher]. Each partition has one request in
// flight; what is published meanwhile goes into the next one, so a single
// message never waits and many share a request. Every replica in sync has what
// it returns nil for.
//
// A request that fails in a way that may pass is sent again until ctx ends; the
// log has its messages once, for they are numbered (KIP-98). What waits behind a
// message that could not be published, with its key, comes back as not sent.
func (b *Broker) Publish(ctx context.Context, msgs ...*pubsub.Message) error {
	if err := pubsub.Prepare(msgs); err != nil {
		return err
	}
	if len(msgs) == 0 {
		return nil
	}
	if b.isClosed() {
		return publishError(len(msgs), fmt.Errorf("%w: %w", pubsub.ErrNotSent, pubsub.ErrClosed))
	}
	c := newCall(ctx, b.publish, msgs)
	var t *topic // of the message before: mostly the only one
	var to *partitioning
	var err error
	for i := range c.entries {
		e := &c.entries[i]
		if t == nil || t.name != e.msg.Topic {
			t = b.topic(e.msg.Topic)
			to, err = t.get(c)
		}
		if err != nil {
			e.fail(err)
			continue
		}
		e.sender = t.pick(to, e.msg.Key, i)
		e.sender.put(e)
	}
	return c.wait()
}

// publishError gives all n messages of a call one result.
func publishError(n int, err error) error {
	return &pubsub.PublishError{Results: slices.Repeat([]error{err}, n)}
}

// call is one Publish.
type call struct {
	ctx     context.Context
	cancel  context.CancelFunc // of ctx; nil: it is the caller's
	timeout time.Duration      // of the call, if ctx has no deadline; else 0
	timer   *time.Timer        // for that

	entries []entry
	pending atomic.Int32  // entries without a result
	failed  atomic.Bool   // one has failed; set under its sender's lock
	done    chan struct{} // receives when pending is 0
}

// entry is one message of a call.
type entry struct {
	msg  *pubsub.Message
	call *call
	size int

	sender     *sender // its lock guards what follows, once the entry was put there
	state      state
	tried      bool // a request that held it may have arrived
	err        error
	prev, next *entry // in the sender's queue
}

type state uint8

const (
	idle    state = iota // not put yet
	queued               // in the sender's queue
	sending              // in its batch
	gone                 // in its batch, but the caller has left
	done                 // err is the result
)

// maxReuse is the largest call, in messages, that is worth keeping.
const maxReuse = 1024

// calls are used again, unless a batch may still refer to them.
var calls = sync.Pool{New: func() any {
	c := &call{done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	c.timer.Stop()
	return c
}}

func newCall(ctx context.Context, timeout time.Duration, msgs []*pubsub.Message) *call {
	c := calls.Get().(*call)
	c.ctx, c.cancel, c.timeout = ctx, nil, timeout
	if _, ok := ctx.Deadline(); ok {
		c.timeout = 0
	}
	if cap(c.entries) < len(msgs) {
		c.entries = make([]entry, len(msgs))
	}
	c.entries = c.entries[:len(msgs)]
	for i, m := range msgs {
		c.entries[i] = entry{msg: m, call: c, size: recordSize(m)}
	}
	c.pending.Store(int32(len(msgs)))
	c.failed.Store(false)
	return c
}

// context returns one that has a deadline, for what may block before wait does. A
// call that never blocks there does without: a context with a deadline costs more
// than everything else that Publish does.
func (c *call) context() context.Context {
	if c.timeout > 0 {
		c.ctx, c.cancel = context.WithTimeoutCause(c.ctx, c.timeout, timeoutError(c.timeout))
		c.timeout = 0
	}
	return c.ctx
}

func timeoutError(d time.Duration) error {
	return fmt.Errorf("publish timeout of %v: %w", d, context.DeadlineExceeded)
}

// wait returns Publish's result, when there is one or ctx has ended.
func (c *call) wait() error {
	if c.cancel != nil {
		defer c.cancel()
	}
	var timeout <-chan time.Time
	if c.timeout > 0 {
		c.timer.Reset(c.timeout)
		timeout = c.timer.C
	}
	reuse := false
	select {
	case <-c.done:
		reuse = true
	case <-c.ctx.Done():
		c.withdraw(ended(c.ctx))
	case <-timeout:
		c.withdraw(timeoutError(c.timeout))
	}
	if timeout != nil {
		c.timer.Stop()
	}
	return c.result(reuse)
}

// withdraw takes back what is not finished. The last comes first: none may go out
// behind an earlier one of its key that is taken back.
func (c *call) withdraw(err error) {
	for i := range c.entries {
		if e := &c.entries[len(c.entries)-1-i]; e.sender != nil {
			e.sender.withdraw(e, err)
		}
	}
}

// result returns Publish's. The call is not to be touched afterwards if it is for
// reuse, as no batch refers to it.
func (c *call) result(reuse bool) error {
	var results []error
	for i := range c.entries {
		if err := c.entries[i].err; err != nil {
			if results == nil {
				results = make([]error, len(c.entries))
			}
			results[i] = err
		}
	}
	if reuse && cap(c.entries) <= maxReuse {
		clear(c.entries)
		c.ctx, c.cancel = nil, nil
		calls.Put(c)
	}
	if results != nil {
		return &pubsub.PublishError{Results: results}
	}
	return nil
}

// finish sets the result, and has the caller go on if it was the last. The caller
// of finish holds the sender's lock, or the entry has no sender yet.
func (e *entry) finish(err error) {
	if e.settle(err) {
		e.call.done <- struct{}{}
	}
}

// settle sets the result, and reports whether it was the last of the call, which
// then waits for done.
func (e *entry) settle(err error) (last bool) {
	e.state, e.err = done, err
	if err != nil {
		e.call.failed.Store(true)
	}
	return e.call.pending.Add(-1) == 0
}

// fail finishes an entry that never got to a sender.
func (e *entry) fail(cause error) {
	kind := pubsub.ErrNotSent
	if isRefusal(cause) {
		kind = pubsub.ErrRejected
	}
	e.finish(fmt.Errorf("%w: kafka: message %s to %s: %w", kind, e.msg.ID, e.msg.Topic, cause))
}
