package balancer

import (
	"math/rand/v2"
	"sync/atomic"
)

// counter numbers calls. It is alone in its cache line, because all processors
// write it: what they only read should not have to be fetched again for that.
type counter struct {
	_    [64]byte
	next atomic.Uint64
	_    [56]byte
}

// newCounter starts anywhere, so that a thousand clients that come up together do
// not all begin with the same instance.
func newCounter() *counter {
	c := &counter{}
	c.next.Store(rand.Uint64()) //nolint:gosec // spreads load, hides nothing
	return c
}

func (c *counter) take() uint64 { return c.next.Add(1) }
