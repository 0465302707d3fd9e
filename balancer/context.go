package balancer

import (
	"context"
	"slices"
	"sync/atomic"
)

// call is what a context says about the picks of its calls: everything under
// one key, so that a pick looks once.
type call struct {
	choices

	// answer is what the latest picker says to these choices. Whoever keeps a
	// context for many calls has it found at once; whoever makes one for each
	// finds it among the picker's.
	answer atomic.Pointer[answer]
}

type choices struct {
	filter Filter
	tiers  Filter // nil: those of the config
	avoid  []string
	hash   uint64 // of the key, if hashed
	hashed bool
	stream bool
	probe  probe // nil: it is a call
}

// callKey is a pointer because comparing two is the quickest.
type callKey struct{ _ byte }

var theCallKey = new(callKey)

// used is set once any With… function was called: until then no pick has to
// look into its context, which may be deep.
var used atomic.Uint32

func fromContext(ctx context.Context) *call {
	if used.Load() == 0 {
		return nil
	}
	c, _ := ctx.Value(theCallKey).(*call)
	return c
}

func withCall(ctx context.Context, change func(*call)) context.Context {
	if used.Load() == 0 {
		used.Store(1)
	}
	next := &call{}
	if c := fromContext(ctx); c != nil {
		next.choices = c.choices
	}
	change(next)
	return context.WithValue(ctx, theCallKey, next)
}

// WithFilter lets the calls of ctx go only to instances that f keeps, beside
// what filters ctx has already and the connection has.
func WithFilter(ctx context.Context, f Filter) context.Context {
	return withCall(ctx, func(c *call) {
		if c.filter != nil {
			f = And(c.filter, f)
		}
		c.filter = f
	})
}

// WithAvoid lets the calls of ctx go to the instances with these IDs only when
// no other is left that could take them: for sending a call again elsewhere.
func WithAvoid(ctx context.Context, ids ...string) context.Context {
	return withCall(ctx, func(c *call) { c.avoid = slices.Concat(c.avoid, ids) })
}

// WithHashKey sends the calls of ctx where key belongs, if the policy is
// micro_consistent_hash: calls with the same key go to the same instance.
func WithHashKey(ctx context.Context, key string) context.Context {
	h := hash(key)
	return withCall(ctx, func(c *call) { c.hash, c.hashed = h, true })
}

// WithStream says that the calls of ctx are streams, so that how long they live
// is not taken for a latency: a picker cannot tell. Clients made by package
// micro say so themselves; others can in a stream interceptor.
func WithStream(ctx context.Context) context.Context {
	return withCall(ctx, func(c *call) { c.stream = true })
}
