package pubsub

import (
	"context"
	"sync/atomic"
	"time"
)

// Gate pauses and resumes subscriptions ([WithGate]): while something that their
// handlers need is away, or by hand. The zero Gate is open. One may be that of many
// subscriptions. Safe for concurrent use; it must not be copied.
type Gate struct {
	opened atomic.Pointer[chan struct{}] // closed by Resume; nil: it is open
}

// Pause has no more handlers start. Those that run go on, members stay in their
// groups, and fetching ends when the window is full.
func (g *Gate) Pause() {
	opened := make(chan struct{})
	g.opened.CompareAndSwap(nil, &opened)
}

// Resume ends a pause.
func (g *Gate) Resume() {
	if opened := g.opened.Swap(nil); opened != nil {
		close(*opened)
	}
}

// Paused reports whether there is a pause.
func (g *Gate) Paused() bool { return g != nil && g.opened.Load() != nil }

// WithGate sets what pauses the subscription, and the retry topics that it reads
// ([WithUnorderedRetry]). Default: nothing does.
func WithGate(g *Gate) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.gate = g })
}

// gatePause is how long a message holds a worker of a paused subscription, and how
// long it then leaves it to others: what a drain may have to wait for.
const gatePause = 100 * time.Millisecond

// pass waits for the gate. With a pause the message has to come again.
func (g *Gate) pass(ctx context.Context) (pause time.Duration) {
	if g == nil {
		return 0
	}
	opened := g.opened.Load()
	if opened == nil {
		return 0
	}
	late := time.NewTimer(gatePause)
	defer late.Stop()
	select {
	case <-*opened:
		return 0
	case <-late.C:
	case <-ctx.Done():
	}
	return gatePause
}
