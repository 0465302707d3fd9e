package lanes

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"
)

// keepIdle is how many workers stay parked when there is nothing to do; the
// others end. A parked worker is there faster than a new goroutine, whose stack
// has to grow first.
const keepIdle = 8

// ErrDrained is what Add returns for a partition that was drained.
var ErrDrained = errors.New("lanes: the partition was drained")

// Config says how a Pool works.
type Config[T any] struct {
	// Concurrency is how many handlers run at once, over all partitions of the
	// pool. Less than 1 means 1.
	Concurrency int

	// Window bounds the distance between the oldest unfinished offset of a
	// partition and the newest. A partition keeps a bit an offset of it. Less
	// than 1 means 1.
	Window int

	// Handle handles v. If both results are zero, v is finished. If retryAfter
	// is above zero, v is handled again after that time, with attempt (1 on the
	// first try) one higher; its key waits that long. With an error nothing
	// more is started in any partition: the pool has failed.
	//
	// ctx has the values of the pool's context but not its end: it ends when
	// the drain of the partition has waited long enough.
	Handle func(ctx context.Context, v T, attempt int) (retryAfter time.Duration, err error)
}

// Pool runs handlers for the messages of its partitions. Its methods are safe
// for concurrent use.
type Pool[T any] struct {
	cfg    Config[T]
	ctx    context.Context // the handlers' values
	seed   maphash.Seed
	failed chan struct{}
	ended  chan struct{} // a worker has ended; capacity 1

	// mu guards everything below and in the partitions. One lock, held for
	// some tens of nanoseconds twice a message, is cheaper than one for the
	// partition and one for the queue that they share.
	mu         sync.Mutex
	work       sync.Cond
	err        error // set once, before failed is closed
	closed     bool
	ready      queue[T] // lanes whose first message may run
	workers    int
	idle       int  // workers parked in work.Wait
	waking     bool // a worker is on its way: it wakes the next if there is more
	abandoned  int  // workers whose handler outlasted its partition's drain
	partitions map[*Partition[T]]struct{}
	lanes      *lane[T] // recycled
	items      *item[T] // recycled
	spare      int      // how many items and lanes are kept for reuse
}

// New returns a pool without partitions. The values of ctx are those of the
// handlers' contexts; its end means nothing to the pool. The caller closes it.
func New[T any](ctx context.Context, cfg Config[T]) *Pool[T] {
	cfg.Concurrency = max(cfg.Concurrency, 1)
	cfg.Window = max(cfg.Window, 1)
	p := &Pool[T]{
		cfg:        cfg,
		ctx:        context.WithoutCancel(ctx),
		seed:       maphash.MakeSeed(),
		failed:     make(chan struct{}),
		ended:      make(chan struct{}, 1),
		partitions: make(map[*Partition[T]]struct{}),
	}
	p.work.L = &p.mu
	return p
}

// Failed is closed when a handler has returned an error.
func (p *Pool[T]) Failed() <-chan struct{} { return p.failed }

// Err returns the first error of a handler, or nil.
func (p *Pool[T]) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Close drains the partitions that are left, as [Partition.Drain] does, and
// waits for the pool's goroutines, but not for a handler that outlasted a
// drain; it returns how many of those there are.
func (p *Pool[T]) Close(ctx context.Context) (abandoned int) {
	p.mu.Lock()
	var drains sync.WaitGroup
	for q := range p.partitions {
		drains.Go(func() { q.Drain(ctx) })
	}
	p.mu.Unlock()
	drains.Wait()

	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.work.Broadcast()
	for p.workers > p.abandoned {
		p.mu.Unlock()
		<-p.ended // soon: the others have no handler to wait for
		p.mu.Lock()
	}
	return p.abandoned
}

// wake sees to it that a worker comes for what is ready. Only one is on its way
// at a time, or a burst of messages would wake many to find nothing.
func (p *Pool[T]) wake() {
	switch {
	case p.waking || p.ready.first == nil:
	case p.idle > 0:
		p.waking = true
		p.work.Signal()
	case p.workers < p.cfg.Concurrency:
		p.waking = true
		p.workers++
		go p.run()
	}
}

// run is a worker.
func (p *Pool[T]) run() {
	var busy *lane[T]
	p.mu.Lock()
	defer func() {
		if busy != nil { // the handler called runtime.Goexit, as a test's FailNow does
			p.mu.Lock()
			p.finish(busy, 0, errors.New("lanes: the handler ended its goroutine (runtime.Goexit)"))
		}
		p.workers--
		p.mu.Unlock()
		signal(p.ended)
	}()
	p.waking = false
	for {
		l := p.take()
		if l == nil {
			return
		}
		q, it := l.partition, l.first
		p.mu.Unlock()
		busy = l
		retryAfter, err := p.cfg.Handle(q.ctx, it.v, it.attempt)
		busy = nil
		p.mu.Lock()
		p.finish(l, retryAfter, err)
	}
}

// take waits for a lane that may run; nil means that the worker should end.
func (p *Pool[T]) take() *lane[T] {
	for {
		for l := p.ready.pop(); l != nil; l = p.ready.pop() {
			if p.err != nil || l.partition.draining {
				continue // what waits when a drain begins is dropped, unfinished
			}
			l.partition.running++
			p.wake()
			return l
		}
		if p.closed || p.idle >= keepIdle {
			return nil
		}
		p.idle++
		p.work.Wait()
		p.idle--
		p.waking = false
	}
}

// finish does what the handler of the lane's first message asked for.
func (p *Pool[T]) finish(l *lane[T], retryAfter time.Duration, err error) {
	q := l.partition
	q.running--
	if q.final {
		p.abandoned--
		return
	}
	switch {
	case err != nil:
		if p.err == nil {
			p.err = err
			close(p.failed)
		}
	case retryAfter > 0:
		l.first.attempt++
		q.hold(l, retryAfter)
	default:
		q.finished(l)
	}
	if q.draining && q.running == 0 {
		close(q.quiet)
	}
}

// signal sends on a channel of capacity 1, unless a signal waits there already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
