package pubsub

import (
	"errors"
	"fmt"
	"strings"
)

// What became of a message that Publish did not get through. Each result of a
// [PublishError] wraps one of them, and errors.Is finds them through it.
var (
	// ErrRejected: the message, or its topic, is not acceptable; the same
	// message will not be accepted later either.
	ErrRejected = errors.New("pubsub: rejected")

	// ErrNotSent: the broker does not have the message. Publishing it again
	// makes no duplicate.
	ErrNotSent = errors.New("pubsub: not sent")

	// ErrUnknown: the broker may have the message. Publishing it again may make
	// a duplicate, with the same ID.
	ErrUnknown = errors.New("pubsub: outcome unknown")

	// ErrClosed: the broker was closed.
	ErrClosed = errors.New("pubsub: broker is closed")
)

// PublishError says what became of each message of a Publish call.
type PublishError struct {
	// Results has one entry for each message, in their order: nil for one that
	// the broker has, else an error that wraps [ErrRejected], [ErrNotSent] or
	// [ErrUnknown], and the cause.
	Results []error
}

// Error counts the failures and gives the first.
func (e *PublishError) Error() string {
	failed := e.Unwrap()
	if len(failed) == 0 {
		return "pubsub: nothing failed" // a driver's mistake
	}
	if len(e.Results) == 1 {
		return failed[0].Error()
	}
	return fmt.Sprintf("pubsub: %d of %d messages failed, the first: %v", len(failed), len(e.Results), failed[0])
}

// Unwrap returns the results that are not nil.
func (e *PublishError) Unwrap() []error {
	var failed []error
	for _, err := range e.Results {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// outcome is a result: one of the errors above, and its cause.
type outcome struct{ kind, cause error }

func (o *outcome) Error() string {
	return o.kind.Error() + ": " + strings.TrimPrefix(o.cause.Error(), "pubsub: ")
}

func (o *outcome) Unwrap() []error { return []error{o.kind, o.cause} }

// Permanent marks err as one that trying again does not cure: the message goes
// to the dead-letter topic at once, or, without one, ends the subscription. It
// returns nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

func isPermanent(err error) bool {
	_, ok := errors.AsType[*permanentError](err)
	return ok
}
