package pubsub

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// SubscriptionState is what a running subscription has done and has in hand, for
// metrics. The counters begin with the Subscribe call.
type SubscriptionState struct {
	Topic, Group string // no Group: a broadcast
	Since        time.Time
	Window       int // size of each partition's, in messages

	Paused      bool  // by its Gate
	Running     int64 // handlers at work
	Handled     int64 // messages acknowledged, dead letters among them
	Retries     int64 // tries that failed, and were or will be followed by another
	Delayed     int64 // messages put into a retry topic
	DeadLetters int64 // messages put into the dead-letter topic
	Undelivered int64 // tries to put one there, or into a retry topic, that failed: alert on it
	Rebalances  int64 // how often its partitions were assigned, the first time included

	// Unassigned is for how long it has not been told which partitions are its own,
	// as while it is not in its group: alert on it when that is long. It is 0 when
	// it was, though they may be none, and when the broker does not tell.
	Unassigned time.Duration

	// Partitions are those it has now, ascending. Nil: it has none, or the broker
	// does not tell.
	Partitions []PartitionState
}

// PartitionState is a partition in the hands of a subscription.
type PartitionState struct {
	Partition int
	Next      int64         // offset of the oldest message that is not finished
	Fetched   int64         // offset behind the newest that was fetched
	End       int64         // offset behind the newest in the partition, as far as is known; -1: not known yet
	Pending   int           // messages fetched, and not finished
	Standing  time.Duration // for how long Next has been that of a message in hand, as far as was looked
	Blocked   time.Duration // for how long a full window (WithWindow) has stopped fetching
	Silent    time.Duration // for how long an answer of the broker about the partition has been overdue
	Stalled   bool          // it has messages, or does not know, and gets nowhere (WithStallAfter): alert on it
}

// Window returns how much of the window is used, which is full at
// [WithWindow] messages.
func (p PartitionState) Window() int64 {
	if p.Pending == 0 {
		return 0 // whatever was compacted away
	}
	return p.Fetched - p.Next
}

// Lag returns how many messages are not finished, or -1 if that is not known
// yet. Where messages were compacted away, it is too many.
func (p PartitionState) Lag() int64 {
	if p.End < 0 {
		return -1
	}
	return max(p.End-p.Fetched, 0) + int64(p.Pending)
}

// Lag returns that of all partitions of which it is known.
func (s SubscriptionState) Lag() int64 {
	lag := int64(0)
	for _, p := range s.Partitions {
		lag += max(p.Lag(), 0)
	}
	return lag
}

// Subscriptions returns the subscriptions that run in this process, by topic and
// group. Messages pay next to nothing for it: states are worked out here.
func Subscriptions() []SubscriptionState {
	running.Lock()
	subs := make([]*Subscription, 0, len(running.subs))
	for s := range running.subs {
		subs = append(subs, s)
	}
	running.Unlock()
	states := make([]SubscriptionState, 0, len(subs))
	for _, s := range subs {
		states = append(states, s.State())
	}
	slices.SortFunc(states, func(a, b SubscriptionState) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Group, b.Group), a.Since.Compare(b.Since))
	})
	return states
}

var running = struct {
	sync.Mutex

	subs map[*Subscription]struct{}
}{subs: make(map[*Subscription]struct{})}

// counters are what a Subscription counts. What runs is the difference of two,
// which is cheaper than a third.
type counters struct {
	since               time.Time
	began               atomic.Int64 // calls of Handle
	handled, unhandled  atomic.Int64 // and how they ended
	retries, delayed    atomic.Int64
	buried, undelivered atomic.Int64
	rebalances          atomic.Int64
	partitions          atomic.Pointer[func() []PartitionState]
	unassigned          atomic.Int64 // since when it has none, in nanoseconds of the Unix era; 0: it has, or does not tell
}

// Rebalanced is for drivers: the subscription was given partitions, and from now
// on report tells their states; or it does not know its partitions yet, or any
// more, and report is nil. report must be safe for concurrent use, and not block.
func (s *Subscription) Rebalanced(report func() []PartitionState) {
	if report == nil {
		s.count.unassigned.CompareAndSwap(0, time.Now().UnixNano())
		s.count.partitions.Store(nil)
		return
	}
	s.count.unassigned.Store(0)
	s.count.rebalances.Add(1)
	s.count.partitions.Store(&report)
}

func (c *counters) sinceUnassigned(now time.Time) time.Duration {
	since := c.unassigned.Load()
	if since == 0 {
		return 0
	}
	return max(now.Sub(time.Unix(0, since)), 1)
}

// State returns the state of the subscription.
func (s *Subscription) State() SubscriptionState {
	c := &s.count
	ended := c.handled.Load() + c.unhandled.Load() // before those that began, or it could be more
	state := SubscriptionState{
		Topic:       s.Topic,
		Group:       s.Group,
		Since:       c.since,
		Window:      s.Window,
		Paused:      s.gate.Paused(),
		Running:     c.began.Load() - ended,
		Handled:     c.handled.Load(),
		Retries:     c.retries.Load(),
		Delayed:     c.delayed.Load(),
		DeadLetters: c.buried.Load(),
		Undelivered: c.undelivered.Load(),
		Rebalances:  c.rebalances.Load(),
	}
	state.Unassigned = c.sinceUnassigned(time.Now())
	if report := c.partitions.Load(); report != nil {
		state.Partitions = (*report)()
		for i := range state.Partitions {
			state.Partitions[i].Stalled = s.watchdog.stalled(state.Partitions[i].Partition)
		}
		slices.SortFunc(state.Partitions, func(a, b PartitionState) int { return cmp.Compare(a.Partition, b.Partition) })
	}
	return state
}
