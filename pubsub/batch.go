package pubsub

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"
)

// Batch makes a handler of one that takes many events at once, to write them in
// one transaction or one request:
//
//	err := Greeted.Subscribe(ctx, broker, "archive", pubsub.Batch(100, 50*time.Millisecond,
//		func(ctx context.Context, batch []*greeterv1.Greeted) error { return insert(ctx, batch) }),
//		pubsub.WithConcurrency(200))
//
// fn is called when size events are there, or the first has waited so long; it
// gathers from events that are handled at once, so [WithConcurrency] has to be size
// or more. An event is acknowledged when fn returned nil for its batch. All else is
// as without Batch: order (a batch has one event of a key at most), retries, dead
// letters, drains. If fn fails for several, it is called again at once for each
// alone, so that one bad event does not take others along.
//
// T is *E of a Topic[E], or *[Delivery] for a [Handler]. ctx is that of the first
// event, without [DeliveryFrom].
func Batch[T any](size int, wait time.Duration, fn func(ctx context.Context, batch []T) error) func(context.Context, T) error {
	b := &batcher[T]{size: max(size, 1), wait: wait, fn: fn}
	return b.handle
}

type batcher[T any] struct {
	size int
	wait time.Duration
	fn   func(context.Context, []T) error

	mu   sync.Mutex // guards open and its events
	open *batch[T]  // that takes more; nil: there is none
}

type batch[T any] struct {
	events []T
	full   chan struct{} // closed when there are size events
	done   chan struct{} // closed when errs are there
	errs   []error       // by event
}

// handle puts v into the open batch. Whoever comes first in one runs it.
func (b *batcher[T]) handle(ctx context.Context, v T) error {
	b.mu.Lock()
	at := b.open
	if at == nil {
		at = &batch[T]{full: make(chan struct{}), done: make(chan struct{})}
		b.open = at
	}
	i := len(at.events)
	at.events = append(at.events, v)
	if len(at.events) == b.size {
		b.open = nil
		close(at.full)
	}
	b.mu.Unlock()
	if i > 0 {
		<-at.done // soon: the first waits no longer than it may, and ends with fn
		return at.errs[i]
	}
	late := time.NewTimer(b.wait)
	defer late.Stop()
	select {
	case <-at.full:
	case <-late.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	if b.open == at {
		b.open = nil
	}
	b.mu.Unlock()
	at.errs = make([]error, len(at.events))
	for i := range at.errs {
		at.errs[i] = errGoexit // unless fn returns
	}
	defer close(at.done)
	b.run(context.WithValue(ctx, deliveryKey{}, (*Delivery)(nil)), at)
	return at.errs[0]
}

var errGoexit = errors.New("pubsub: the batch's handler has ended its goroutine (runtime.Goexit, FailNow of a test)")

// run calls fn for all, and if that fails for each.
func (b *batcher[T]) run(ctx context.Context, at *batch[T]) {
	err := b.call(ctx, at.events)
	for i := range at.errs {
		at.errs[i] = err
	}
	if err == nil || len(at.events) == 1 {
		return
	}
	for i := range at.errs {
		if cutOff(ctx) {
			return // the others have the error of all
		}
		at.errs[i] = b.call(ctx, at.events[i:i+1:i+1])
	}
}

// call is fn, with a panic as an error to all who wait for it.
func (b *batcher[T]) call(ctx context.Context, events []T) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return b.fn(ctx, events)
}
