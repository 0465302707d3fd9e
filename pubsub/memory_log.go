package pubsub

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// memoryLog is a partition: its newest messages, by offset.
type memoryLog struct {
	retention int

	mu      sync.Mutex // guards what follows; taken under the topic's
	ring    []*Message // message o is at o % len(ring)
	first   int64      // the oldest offset that is kept
	next    int64      // the offset of the next message
	floor   int64      // what no group with members needs any more ends here
	readers []chan struct{}
	room    chan struct{} // not nil: publishers wait until it is closed
}

func newMemoryLog(retention int) *memoryLog {
	return &memoryLog{retention: retention, floor: math.MaxInt64}
}

// append is false if the partition is full.
func (l *memoryLog) append(m *Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next-l.first == int64(len(l.ring)) && !l.makeRoom() {
		return false
	}
	l.ring[l.next%int64(len(l.ring))] = m
	l.next++
	if len(l.readers) > 0 {
		for _, wake := range l.readers {
			signal(wake)
		}
		clear(l.readers)
		l.readers = l.readers[:0]
	}
	return true
}

// appendOrWait returns what is closed when there may be room again.
func (l *memoryLog) appendOrWait(m *Message) (room <-chan struct{}, ok bool) {
	l.mu.Lock()
	if l.room == nil {
		l.room = make(chan struct{})
	}
	room = l.room
	l.mu.Unlock()
	return room, l.append(m)
}

// makeRoom grows the ring up to the retention, and then drops the oldest.
func (l *memoryLog) makeRoom() bool {
	if size := len(l.ring); size < l.retention {
		ring := make([]*Message, min(max(2*size, 64), l.retention))
		for o := l.first; o < l.next; o++ {
			ring[o%int64(len(ring))] = l.ring[o%int64(size)]
		}
		l.ring = ring
		return true
	}
	if l.first >= l.floor {
		return false
	}
	l.first++
	return true
}

// read copies messages from offset on into buf; the first has the offset that
// it returns. It waits until there is one, or ctx ends: then it returns none.
// wake is the caller's, and of capacity 1.
func (l *memoryLog) read(ctx context.Context, offset int64, buf []*Message, wake chan struct{}) (from int64, n int) {
	for {
		l.mu.Lock()
		offset = max(offset, l.first)
		if n = int(min(l.next-offset, int64(len(buf)))); n > 0 {
			for i := range n {
				buf[i] = l.ring[(offset+int64(i))%int64(len(l.ring))]
			}
			l.mu.Unlock()
			return offset, n
		}
		l.readers = append(l.readers, wake)
		l.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			l.mu.Lock()
			l.readers = slices.DeleteFunc(l.readers, func(c chan struct{}) bool { return c == wake })
			l.mu.Unlock()
			return offset, 0
		}
	}
}

// bounds returns the oldest offset that is kept, and the next one.
func (l *memoryLog) bounds() (first, next int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first, l.next
}

// release says that messages before floor are finished.
func (l *memoryLog) release(floor int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = floor
	if l.room != nil && l.first < floor {
		close(l.room)
		l.room = nil
	}
}

// signal sends on a channel of capacity 1, unless a signal waits there already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// since returns the offset of the first message of time t or later; behind the
// last if there is none.
func (l *memoryLog) since(t time.Time) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for o := l.first; o < l.next; o++ {
		if !l.ring[o%int64(len(l.ring))].Time.Before(t) {
			return o
		}
	}
	return l.next
}
