package outbox

import (
	"math/rand/v2"
	"time"
)

const (
	// maxPause is the longest pause of what may work the next time, and
	// maxRejectedPause that of what the broker has rejected, which somebody has
	// to mend.
	maxPause         = 5 * time.Second
	maxRejectedPause = time.Minute

	// maxHeld bounds the lanes that are held back, which every query names. With
	// more of them the broker is hardly well, and the relay waits for the first.
	maxHeld = 500
)

// held is the lanes whose first event has failed, and until when they wait.
type held struct {
	lanes map[int64]*hold
}

type hold struct {
	until time.Time
	tries int
}

func newHeld() *held { return &held{lanes: make(map[int64]*hold)} }

// hold keeps a lane back for longer than the last time, and reports whether this
// is the first time.
func (h *held) hold(lane int64, limit time.Duration) (pause time.Duration, first bool) {
	l := h.lanes[lane]
	if l == nil {
		l = &hold{}
		h.lanes[lane] = l
	}
	now := time.Now()
	if now.Before(l.until) { // by another event of the same batch
		return l.until.Sub(now), false
	}
	pause = backoff(l.tries, limit)
	l.until = now.Add(pause)
	l.tries++
	return pause, l.tries == 1
}

// release ends it: the event that had failed is published.
func (h *held) release(lane int64) { delete(h.lanes, lane) }

func (h *held) count() int64 { return int64(len(h.lanes)) }

// now returns the lanes to be left out. It is false if they are too many.
func (h *held) now() ([]int64, bool) {
	var lanes []int64
	now := time.Now()
	for lane, l := range h.lanes {
		switch {
		case now.Before(l.until):
			lanes = append(lanes, lane)
		case now.Sub(l.until) > maxRejectedPause:
			delete(h.lanes, lane) // its row is gone, by hand
		}
	}
	return lanes, len(lanes) <= maxHeld
}

// until is how long to wait for the next look: for as long as most, or until a
// lane may be tried again.
func (h *held) until(most time.Duration) time.Duration {
	now := time.Now()
	for _, l := range h.lanes {
		if wait := l.until.Sub(now); wait > 0 {
			most = min(most, wait)
		}
	}
	return most
}

// backoff is the pause after a number of failures.
func backoff(tries int, limit time.Duration) time.Duration {
	d := min(50*time.Millisecond<<min(tries, 20), limit)
	return d/2 + rand.N(d/2) //nolint:gosec // spreads load, hides nothing
}
