package micro

import "context"

type stoppingKey struct{}

// Stopping returns a channel that is closed when the service begins to drain.
// A stream handler or a task selects on it to say goodbye while it still can;
// its context ends only later, when the stop has run out of patience. In the
// context of a unary call, and in one that does not come from a Service, it
// returns nil, which blocks for ever.
func Stopping(ctx context.Context) <-chan struct{} {
	stopping, _ := ctx.Value(stoppingKey{}).(chan struct{})
	return stopping
}
