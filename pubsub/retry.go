package pubsub

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// RetryPolicy says how often and after which pauses a message is tried again.
// It waits in the lane of its key, without a goroutine: later messages of the
// key wait behind it, others do not. Tries are counted from when this member
// of the group got the message; a restart or a rebalance begins anew. The pauses
// are for what passes in seconds: the partition goes on ahead of the message by
// the window ([WithWindow]), and then waits for it too.
type RetryPolicy struct {
	// Attempts is the number of tries, the first one included. 0 means 5 when
	// there is a dead-letter topic, and no limit when there is none; -1 means
	// no limit.
	Attempts int

	// InitialBackoff is the pause before the second try; each later one is
	// twice as long, up to MaxBackoff. Each is shortened by up to a half, at
	// random. Defaults: 100 ms and 30 s.
	InitialBackoff, MaxBackoff time.Duration
}

const (
	defaultAttempts       = 5
	defaultInitialBackoff = 100 * time.Millisecond
	defaultMaxBackoff     = 30 * time.Second
)

func (p RetryPolicy) check() error {
	switch {
	case p.Attempts < -1:
		return fmt.Errorf("pubsub: retry attempts are %d: use 1 or more, or -1 for no limit", p.Attempts)
	case p.InitialBackoff < 0 || p.MaxBackoff < 0:
		return fmt.Errorf("pubsub: retry backoff of %v to %v: a pause cannot be negative", p.InitialBackoff, p.MaxBackoff)
	}
	return nil
}

// withDefaults fills in what was left zero.
func (p RetryPolicy) withDefaults(deadLetter bool) RetryPolicy {
	if p.Attempts == 0 {
		p.Attempts = -1
		if deadLetter {
			p.Attempts = defaultAttempts
		}
	}
	if p.InitialBackoff == 0 {
		p.InitialBackoff = defaultInitialBackoff
	}
	if p.MaxBackoff == 0 {
		p.MaxBackoff = max(defaultMaxBackoff, p.InitialBackoff)
	}
	return p
}

// exhausted reports whether attempt, counted from 1, was the last one.
func (p RetryPolicy) exhausted(attempt int) bool {
	return p.Attempts > 0 && attempt >= p.Attempts
}

// backoff returns the pause after the given try, counted from 1: positive.
func (p RetryPolicy) backoff(attempt int) time.Duration {
	pause := p.InitialBackoff
	for ; attempt > 1 && pause < p.MaxBackoff; attempt-- {
		pause *= 2
	}
	pause = min(pause, p.MaxBackoff)
	return max(pause-rand.N(pause/2+1), 1) //nolint:gosec // spreads load, hides nothing
}
