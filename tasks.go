package micro

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// tasks are what runs beside the server, from start until stop.
type tasks struct {
	failed chan error // the first error of a task

	mu      sync.Mutex // guards what follows
	waiting []func(context.Context) error
	ctx     context.Context // nil before start
	cancel  context.CancelFunc
	stopped bool
	wg      sync.WaitGroup
}

func (t *tasks) add(task func(context.Context) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped:
	case t.ctx == nil:
		t.waiting = append(t.waiting, task)
	default:
		t.run(task)
	}
}

// start runs the tasks added so far, and from now on each one when it is added.
func (t *tasks) start(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ctx, t.cancel = context.WithCancel(ctx)
	for _, task := range t.waiting {
		t.run(task)
	}
	t.waiting = nil
}

// run needs t.mu.
func (t *tasks) run(task func(context.Context) error) {
	ctx := t.ctx
	t.wg.Go(func() {
		if err := guarded(ctx, task); err != nil && ctx.Err() == nil {
			select {
			case t.failed <- err:
			default: // one reason to stop is enough
			}
		}
	})
}

// guarded turns a panic into an error: it stops this service with its stack,
// and not the process that may hold others.
func guarded(ctx context.Context, task func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("micro: a task panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return task(ctx)
}

// stop ends the context of every task and waits for them until ctx ends.
func (t *tasks) stop(ctx context.Context) error {
	t.mu.Lock()
	t.stopped = true
	if t.cancel != nil {
		t.cancel()
	}
	t.mu.Unlock()
	done := make(chan struct{})
	go func() {
		t.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("micro: a task (Service.Go) did not return when its context ended: %w", ctx.Err())
	}
}
