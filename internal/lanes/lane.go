package lanes

import "time"

// lane is the messages of one key that are in flight, the first of them ready,
// running or in backoff. A message without a key has a lane to itself.
type lane[T any] struct {
	partition   *Partition[T]
	hash        uint64 // of the key
	keyed       bool
	first, last *item[T]
	timer       *time.Timer // set while the first message is in backoff
	next        *lane[T]    // in the queue of ready lanes, or of recycled ones
}

// item is one message in a lane.
type item[T any] struct {
	offset  int64
	attempt int
	v       T
	next    *item[T] // in the lane, or among the recycled
}

// queue is a first-in, first-out list of lanes.
type queue[T any] struct {
	first, last *lane[T]
}

func (q *queue[T]) push(l *lane[T]) {
	if q.first == nil {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
}

func (q *queue[T]) pop() *lane[T] {
	l := q.first
	if l != nil {
		q.first, l.next = l.next, nil
	}
	return l
}

// newItem and the three functions below recycle what each message needs, so that
// steady traffic allocates nothing here. What is kept is an item and a lane for
// each place in a window. The caller holds the lock.
func (p *Pool[T]) newItem(offset int64, v T) *item[T] {
	it := p.items
	if it == nil {
		it = new(item[T])
	} else {
		p.items = it.next
		p.spare--
	}
	*it = item[T]{offset: offset, attempt: 1, v: v}
	return it
}

func (p *Pool[T]) freeItem(it *item[T]) {
	if p.spare < 2*p.cfg.Window {
		*it = item[T]{next: p.items}
		p.items = it
		p.spare++
	}
}

func (p *Pool[T]) newLane(q *Partition[T], hash uint64, keyed bool) *lane[T] {
	l := p.lanes
	if l == nil {
		l = new(lane[T])
	} else {
		p.lanes = l.next
		p.spare--
	}
	*l = lane[T]{partition: q, hash: hash, keyed: keyed}
	return l
}

func (p *Pool[T]) freeLane(l *lane[T]) {
	if p.spare < 2*p.cfg.Window {
		*l = lane[T]{next: p.lanes}
		p.lanes = l
		p.spare++
	}
}
