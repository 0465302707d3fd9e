package micro

import (
	"context"
	"errors"
	"slices"

	"github.com/grpc-micro/micro/pubsub"
)

// errTaken is how a Function's handler turns an event away when the function
// already has its call: the event is not acknowledged, and another member of
// the group gets it.
var errTaken = errors.New("micro: this function has its one call or event already")

// Subscribe handles the events of t while s runs, as a member of group in b:
// it is s.Go with t.Subscribe inside. With a Function it handles one event,
// and the function ends once that is acknowledged.
func Subscribe[T any](s *Service, t pubsub.Topic[T], b pubsub.Broker, group string, fn func(context.Context, *T) error, opts ...pubsub.SubscribeOption) {
	if s.once == nil {
		s.Go(func(ctx context.Context) error { return t.Subscribe(ctx, b, group, fn, opts...) })
		return
	}
	s.Go(func(ctx context.Context) error {
		return s.once.event(ctx, func(ctx context.Context, mine func() bool) error {
			return t.Subscribe(ctx, b, group, func(ctx context.Context, v *T) error {
				if !mine() {
					return errTaken
				}
				return fn(ctx, v)
			}, append(slices.Clip(opts), pubsub.WithConcurrency(1), pubsub.WithLimit(1))...)
		})
	})
}

// event runs subscribe until its one event is done or something else has
// taken the function. The event that took it stays its own while it is tried
// again.
func (o *once) event(ctx context.Context, subscribe func(ctx context.Context, mine func() bool) error) error {
	ctx, cancel := context.WithCancel(ctx)
	me := new(byte)
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-o.taken:
			if !o.take(me) {
				cancel()
			}
		case <-ctx.Done():
		}
	}()
	err := subscribe(ctx, func() bool { return o.take(me) })
	cancel()
	<-over
	if err == nil && o.has(me) {
		close(o.finished)
	}
	return err
}
