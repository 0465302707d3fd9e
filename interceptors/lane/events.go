package lane

import (
	"context"
	"slices"

	"github.com/grpc-micro/micro/pubsub"
)

// Publisher returns a publisher that puts the events it gets into their
// context's lane, unless they are in one, and has p publish them.
func Publisher(p pubsub.Publisher) pubsub.Publisher { return publisher{p} }

type publisher struct{ to pubsub.Publisher }

func (p publisher) Publish(ctx context.Context, msgs ...*pubsub.Message) error {
	name := From(ctx)
	if name == "" {
		return p.to.Publish(ctx, msgs...)
	}
	if err := pubsub.Prepare(msgs); err != nil { // what it fills in is the caller's to see
		return err
	}
	tagged := make([]*pubsub.Message, len(msgs))
	for i, m := range msgs {
		tagged[i] = m
		if m.Header.Get(Header) == nil {
			t := *m
			t.Header = append(slices.Clip(m.Header), pubsub.Attr{Key: Header, Value: []byte(name)})
			tagged[i] = &t
		}
	}
	return p.to.Publish(ctx, tagged...)
}

// Middleware puts the handler's context into the lane of the event.
func Middleware() pubsub.Middleware {
	return Accept(func(string) bool { return true })
}

// Accept is Middleware for a group that handles the events of some lanes only;
// "" is that of events in none. It acknowledges the others unhandled. A changed
// consumer has a group of its own, and accepts its lane; the stable one accepts
// every lane that has no such group.
func Accept(accept func(lane string) bool) pubsub.Middleware {
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			ctx = With(ctx, string(d.Header.Get(Header)))
			if !accept(From(ctx)) {
				return nil
			}
			return next(ctx, d)
		}
	}
}
