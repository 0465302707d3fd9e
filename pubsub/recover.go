package pubsub

import (
	"context"
	"fmt"
	"runtime/debug"
)

// Recover is a [Middleware] that turns a panic into a [PanicError]. Every
// subscription has it at both ends of its chain.
func Recover(h Handler) Handler {
	return func(ctx context.Context, d *Delivery) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = &PanicError{Value: v, Stack: debug.Stack()}
			}
		}()
		return h(ctx, d)
	}
}

// PanicError is the error of a handler that panicked. It is tried again like
// any other; the subscription logs the stack.
type PanicError struct {
	Value any    // what it panicked with
	Stack []byte // as runtime/debug.Stack formats it
}

// Error does not hold the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("pubsub: handler panicked: %v", e.Value) }

// Unwrap returns Value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
