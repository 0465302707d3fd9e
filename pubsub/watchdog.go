package pubsub

import (
	"context"
	"sync"
	"time"
)

// watchdog looks for partitions that have messages to handle and get nowhere, and
// for a subscription that gets no partitions, and logs each change. It works on the states that drivers report, so that messages
// pay nothing for it.
type watchdog struct {
	sub *Subscription

	outside bool // it was logged that there are no partitions; run's alone

	mu    sync.Mutex // guards marks
	marks map[int]mark
}

// mark is where a partition was when it last got on.
type mark struct {
	next, fetched int64
	pending       int
	at            time.Time
	stalled       bool
}

// run looks until ctx ends.
func (w *watchdog) run(ctx context.Context) {
	tick := time.NewTicker(min(max(w.sub.stallAfter/5, time.Millisecond), time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		w.lookOutside(w.sub.count.sinceUnassigned(now))
		if report := w.sub.count.partitions.Load(); report != nil { // else it is between two assignments
			w.look((*report)(), now)
		}
	}
}

// lookOutside is for a subscription that does not come to its partitions.
func (w *watchdog) lookOutside(unassigned time.Duration) {
	switch {
	case unassigned >= w.sub.stallAfter && !w.outside:
		w.outside = true
		w.sub.Logger.Warn("pubsub: subscription stands still", "why", "it is not told its partitions: it is not in its group, or waits for another member to drain", "since", unassigned)
	case unassigned == 0 && w.outside:
		w.outside = false
		w.sub.Logger.Info("pubsub: subscription goes on")
	}
}

func (w *watchdog) look(partitions []PartitionState, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	marks := make(map[int]mark, len(partitions))
	for _, p := range partitions {
		m, known := w.marks[p.Partition]
		idle := (p.Lag() == 0 || w.sub.gate.Paused()) && p.Silent < w.sub.stallAfter
		if !known || idle || m.next != p.Next || m.fetched != p.Fetched || m.pending != p.Pending {
			m = mark{p.Next, p.Fetched, p.Pending, now, m.stalled}
		}
		switch still := max(now.Sub(m.at), p.Silent); {
		case still >= w.sub.stallAfter && !m.stalled:
			m.stalled = true
			w.sub.Logger.Warn("pubsub: partition stands still", "why", standing(p, w.sub.stallAfter),
				"partition", p.Partition, "offset", p.Next, "lag", p.Lag(), "pending", p.Pending, "window", w.sub.Window, "since", still)
		case still < w.sub.stallAfter && m.stalled:
			m.stalled = false
			w.sub.Logger.Info("pubsub: partition goes on", "partition", p.Partition, "offset", p.Next, "lag", p.Lag())
		}
		marks[p.Partition] = m
	}
	w.marks = marks
}

// standing says what a partition waits for.
func standing(p PartitionState, after time.Duration) string {
	switch {
	case p.Silent >= after, p.Silent > 0 && p.Pending == 0:
		return "the broker does not answer"
	case p.Blocked > 0:
		return "its window is full (WithWindow), and the oldest message does not come to an end"
	case p.Pending == 0:
		return "its messages are not fetched"
	}
	return "no message comes to an end"
}

// stalled reports whether a partition stands still.
func (w *watchdog) stalled(partition int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.marks[partition].stalled
}
