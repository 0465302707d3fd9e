package lanes

import (
	"context"
	"hash/maphash"
	"time"
)

// grace is how long a drain waits for handlers after it has ended their context.
const grace = time.Second

// Partition is one partition while it is assigned to us. Its methods are safe
// for concurrent use, but only one goroutine may Add.
type Partition[T any] struct {
	// The pool's lock guards it, and the last fields.
	tracker

	pool    *Pool[T]
	ctx     context.Context // the handlers' context
	cancel  context.CancelFunc
	changed chan struct{} // capacity 1
	room    chan struct{} // capacity 1
	stopped chan struct{} // closed when draining begins
	quiet   chan struct{} // closed when draining and no handler runs

	// The pool's lock guards these, too.
	keys     map[uint64]*lane[T] // by the hash of the key: two keys of one hash (2⁻⁶⁴) would share a lane, which is slower and not wrong
	backoff  map[*lane[T]]struct{}
	running  int       // handlers
	waiting  time.Time // since when Add waits for room; zero: it does not
	pending  int       // messages in the lanes
	seen     int64     // next, when State was called
	seenAt   time.Time // when it was that for the first time
	draining bool      // nothing is started any more
	final    bool      // the position does not move any more
}

// Partition starts a partition at the position that was committed for it.
func (p *Pool[T]) Partition(pos Position) *Partition[T] {
	q := &Partition[T]{
		pool:    p,
		changed: make(chan struct{}, 1),
		room:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		quiet:   make(chan struct{}),
		tracker: newTracker(pos, p.cfg.Window),
		keys:    make(map[uint64]*lane[T]),
		backoff: make(map[*lane[T]]struct{}),
	}
	q.ctx, q.cancel = context.WithCancel(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partitions[q] = struct{}{}
	return q
}

// Add hands over the message at offset, to be handled when those of its key
// before it are finished. A nil key means no order. It blocks while the window
// is full, until ctx ends; its error is that of ctx, that of the pool, or
// ErrDrained. Offsets must come in ascending order, and may have gaps; one that
// was added before or that is finished already is left out.
func (q *Partition[T]) Add(ctx context.Context, offset int64, key []byte, v T) error {
	p := q.pool
	var hash uint64
	if key != nil {
		hash = maphash.Bytes(p.seed, key)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var ended error
	for !q.fits(offset) && !q.draining && p.err == nil && ended == nil {
		if q.waiting.IsZero() {
			q.waiting = time.Now()
		}
		p.mu.Unlock()
		select {
		case <-q.room:
		case <-q.stopped:
		case <-p.failed:
		case <-ctx.Done():
			ended = ctx.Err()
		}
		p.mu.Lock()
	}
	q.waiting = time.Time{}
	switch {
	case ended != nil:
		return ended
	case p.err != nil:
		return p.err
	case q.draining:
		return ErrDrained
	case !q.add(offset):
		signal(q.changed)
		return nil
	}
	q.pending++
	it := p.newItem(offset, v)
	l := q.keys[hash]
	if key == nil || l == nil {
		l = p.newLane(q, hash, key != nil)
		l.first, l.last = it, it
		if l.keyed {
			q.keys[hash] = l
		}
		p.ready.push(l)
		p.wake()
		return nil
	}
	l.last.next = it
	l.last = it
	return nil
}

// Position returns what may be committed now.
func (q *Partition[T]) Position() Position {
	q.pool.mu.Lock()
	defer q.pool.mu.Unlock()
	return q.position()
}

// Changed receives after the position has changed. One signal may stand for
// many changes.
func (q *Partition[T]) Changed() <-chan struct{} { return q.changed }

// State is what a partition has in hand.
type State struct {
	Next     int64         // the oldest offset that is not finished
	End      int64         // the offset behind the newest that was added
	Pending  int           // offsets added, and not finished
	Standing time.Duration // for how long Next has not moved although something is pending, as far as State was called
	Blocked  time.Duration // as Partition.Blocked
}

// State returns the partition's state.
func (q *Partition[T]) State() State {
	q.pool.mu.Lock()
	defer q.pool.mu.Unlock()
	s := State{Next: q.next, End: q.end, Pending: q.pending}
	now := time.Now()
	if q.next != q.seen || q.pending == 0 || q.seenAt.IsZero() {
		q.seen, q.seenAt = q.next, now
	}
	s.Standing = now.Sub(q.seenAt)
	if !q.waiting.IsZero() {
		s.Blocked = now.Sub(q.waiting)
	}
	return s
}

// Blocked returns for how long Add has been waiting for room in the window, 0 if
// it is not. If that is long, the oldest message does not come to an end: it is
// Position().Next.
func (q *Partition[T]) Blocked() time.Duration {
	q.pool.mu.Lock()
	defer q.pool.mu.Unlock()
	if q.waiting.IsZero() {
		return 0
	}
	return time.Since(q.waiting)
}

// Drain starts nothing more, and drops what waits or is in backoff, unfinished.
// It waits for the handlers that run until ctx ends; then it ends their
// contexts and waits one second more. Afterwards the position is final. It
// returns how many handlers still run: those have been given up.
func (q *Partition[T]) Drain(ctx context.Context) (abandoned int) {
	q.stop()
	select {
	case <-q.quiet:
	case <-ctx.Done():
		q.cancel()
		late := time.NewTimer(grace)
		defer late.Stop()
		select {
		case <-q.quiet:
		case <-late.C:
		}
	}
	q.cancel()

	p := q.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if !q.final {
		q.final = true
		p.abandoned += q.running
		delete(p.partitions, q)
	}
	return q.running
}

// stop begins a drain.
func (q *Partition[T]) stop() {
	q.pool.mu.Lock()
	defer q.pool.mu.Unlock()
	if q.draining {
		return
	}
	q.draining = true
	close(q.stopped)
	for l := range q.backoff {
		l.timer.Stop()
	}
	clear(q.backoff)
	clear(q.keys)
	if q.running == 0 {
		close(q.quiet)
	}
}

// hold keeps the lane back for some time. The caller holds the lock.
func (q *Partition[T]) hold(l *lane[T], d time.Duration) {
	if q.draining {
		return
	}
	q.backoff[l] = struct{}{}
	l.timer = time.AfterFunc(d, func() {
		p := q.pool
		p.mu.Lock()
		defer p.mu.Unlock()
		if q.draining {
			return
		}
		delete(q.backoff, l)
		l.timer = nil
		p.ready.push(l)
		p.wake()
	})
}

// finished takes the lane's first message out. The caller holds the lock.
func (q *Partition[T]) finished(l *lane[T]) {
	p := q.pool
	it := l.first
	l.first = it.next
	q.pending--
	moved := q.finish(it.offset)
	p.freeItem(it)
	signal(q.changed)
	if moved && !q.waiting.IsZero() {
		signal(q.room)
	}
	switch {
	case q.draining:
	case l.first != nil:
		p.ready.push(l) // at the end: a key with much to do does not keep others waiting
	default:
		if l.keyed {
			delete(q.keys, l.hash)
		}
		p.freeLane(l)
	}
}
