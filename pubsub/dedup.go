package pubsub

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// DedupStore remembers which messages were handled: [DedupMemory] in this
// process, or two statements on a table of yours. Safe for concurrent use.
type DedupStore interface {
	// Seen reports whether key was marked. With an error the message is tried
	// again later.
	Seen(ctx context.Context, key DedupKey) (bool, error)

	// Mark remembers key for as long as its message can come again. Marking it
	// twice is no error. With an error Mark alone is tried again later.
	Mark(ctx context.Context, key DedupKey) error
}

// DedupKey names a message as one group handles it.
type DedupKey struct{ Topic, Group, Source, ID string }

// Dedup is a [Middleware] that acknowledges a message that was handled before
// without handling it again: one that a publisher has sent twice because an
// answer was lost, or that is delivered again after a crash. Messages are the
// same if their Source and ID are; one without an ID, of another producer,
// always goes to the handler.
//
// A message is marked once its handler has returned nil. A crash between the
// two has it handled again, as has a handler that outlives its drain deadline:
// only a handler whose own transaction does the marking can close that gap. Of
// the same message twice at once, without a key, the second one waits for the
// first. The subscriptions of a broadcast need a store each.
func Dedup(s DedupStore) Middleware {
	f := flights{byKey: make(map[DedupKey]chan struct{})}
	return func(next Handler) Handler {
		return func(ctx context.Context, d *Delivery) error {
			if d.ID == "" {
				return next(ctx, d)
			}
			key := DedupKey{d.Topic, d.Group, d.Source, d.ID}
			if err := f.enter(ctx, key); err != nil {
				return err
			}
			defer f.leave(key)
			if !d.handled {
				seen, err := s.Seen(ctx, key)
				if err != nil {
					return fmt.Errorf("pubsub: dedup: look for message %s: %w", d.ID, err)
				}
				if seen {
					return nil
				}
				if err := next(ctx, d); err != nil {
					return err
				}
				d.handled = true
			}
			err := s.Mark(ctx, key)
			if err != nil && cutOff(ctx) {
				// The handler has done its work: that the drain deadline is over by
				// now must not keep us from saying so.
				late, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
				defer cancel()
				err = s.Mark(late, key)
			}
			if err != nil {
				return fmt.Errorf("pubsub: dedup: message %s is handled, and cannot be marked: %w", d.ID, err)
			}
			return nil
		}
	}
}

// markTimeout bounds a Mark after the drain deadline.
const markTimeout = 5 * time.Second

// flights are the messages that are being handled now.
type flights struct {
	mu    sync.Mutex                 // guards byKey
	byKey map[DedupKey]chan struct{} // nil: nobody waits for its end
}

// enter waits until nobody handles the message of key, or ctx ends.
func (f *flights) enter(ctx context.Context, key DedupKey) error {
	for {
		f.mu.Lock()
		landed, flying := f.byKey[key]
		if landed == nil {
			if flying {
				landed = make(chan struct{})
			}
			f.byKey[key] = landed
		}
		f.mu.Unlock()
		if !flying {
			return nil
		}
		select {
		case <-landed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *flights) leave(key DedupKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if landed := f.byKey[key]; landed != nil {
		close(landed)
	}
	delete(f.byKey, key)
}

// DedupMemory is a [DedupStore] in this process, bounded in number and in time.
// It knows nothing of what other members have handled, and forgets all at a
// restart: it catches what a publisher has sent twice, and not what a crash has
// delivered again.
type DedupMemory struct {
	messages int
	ttl      time.Duration

	// Two generations are forgotten as wholes, which needs no bookkeeping for
	// each message.
	mu           sync.Mutex // guards what follows
	newer, older map[DedupKey]struct{}
	since        time.Time // of newer
}

var _ DedupStore = (*DedupMemory)(nil)

// NewDedupMemory returns a store that remembers a message for ttl, and up to
// twice as long, unless so many more have come in the meantime; it never holds
// more than twice that number. Less than 1 message counts as 1, and a ttl of 0
// or less as no limit.
func NewDedupMemory(messages int, ttl time.Duration) *DedupMemory {
	return &DedupMemory{
		messages: max(messages, 1),
		ttl:      ttl,
		newer:    make(map[DedupKey]struct{}),
		older:    make(map[DedupKey]struct{}),
		since:    time.Now(),
	}
}

// Seen implements [DedupStore]. It does not block.
func (s *DedupMemory) Seen(_ context.Context, key DedupKey) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	_, seen := s.newer[key]
	if !seen {
		_, seen = s.older[key]
	}
	return seen, nil
}

// Mark implements [DedupStore]. It does not block.
func (s *DedupMemory) Mark(_ context.Context, key DedupKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	s.newer[key] = struct{}{}
	return nil
}

// Len returns how many messages it remembers.
func (s *DedupMemory) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	return len(s.newer) + len(s.older)
}

// forget begins a new generation when it is time. The caller holds the lock.
func (s *DedupMemory) forget() {
	age := time.Since(s.since)
	old := s.ttl > 0 && age >= s.ttl
	if !old && len(s.newer) < s.messages {
		return
	}
	s.newer, s.older = s.older, s.newer
	clear(s.newer)
	if old && age >= 2*s.ttl {
		clear(s.older)
	}
	s.since = time.Now()
}
