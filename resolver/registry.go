package resolver

import (
	"context"
	"iter"
)

// Registrar puts instances into a registry.
//
// Drivers are thin: they do not retry, do not log what they return, and honour
// the deadline of each ctx. Keeping a registration alive for ever is the
// Announcer's job.
type Registrar interface {
	// Register makes insts visible, all of them or none, under one lease that
	// the driver keeps alive until Deregister or until it is lost. It blocks
	// on the registry, at most until ctx ends; ctx bounds the call, not the
	// registration. An instance with the Service and ID of a registered one
	// replaces it. Safe for concurrent use.
	Register(ctx context.Context, insts ...*Instance) (Registration, error)
}

// Registration is what one Register call put into the registry. Its methods
// are safe for concurrent use.
type Registration interface {
	// Update replaces the registered instances by insts, which must have the
	// same services and IDs. The lease stays, so that a client's connection
	// stays up. It fails when the lease is gone or another process has taken
	// the keys over.
	Update(ctx context.Context, insts ...*Instance) error

	// Lost is closed when the registry no longer holds the registration (the
	// lease ended, a key was deleted by someone else) or the driver can no
	// longer tell. Whoever wants to be found again registers anew. Deregister
	// does not close it, and neither does another process that takes the keys
	// over: the two would fight for them for ever.
	Lost() <-chan struct{}

	// Deregister withdraws what this registration put and nothing that
	// another process registered since under the same name: the fenced delete.
	// Calling it again, or after Lost, does nothing more and returns nil.
	Deregister(ctx context.Context) error
}

// Discovery finds the instances of a service.
type Discovery interface {
	// Watch yields the full set of instances, sorted by ID: now, and again
	// after each change, several pending changes as one. The slice and its
	// instances are never written after the yield, and an instance that did
	// not change keeps its pointer. A service without instances yields an
	// empty set.
	//
	// It runs on the ranging goroutine and leaves none behind; each range is a
	// new watch. After ctx ends it stops without a yield. An error is yielded
	// once, with a nil slice, last: whoever wants to go on ranges again. Safe
	// for concurrent use.
	Watch(ctx context.Context, service string) iter.Seq2[[]*Instance, error]
}

// Registry is a whole registry, as Open returns it. Whoever opened it closes
// it, after everything that uses it has stopped.
type Registry interface {
	Registrar
	Discovery

	// Services lists, sorted, the names under which there is an instance now.
	Services(ctx context.Context) ([]string, error)

	// Close ends every watch with ErrClosed and lets go of what Open made.
	// Registrations that were not deregistered are Lost, and end with their
	// lease. Calling it again does nothing and returns nil.
	Close() error
}
