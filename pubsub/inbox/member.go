package inbox

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/internal/lanes"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

// Subscribe implements [pubsub.Subscriber]. It registers the subscription, and is
// ready when it is registered. Offsets count what this member has got; the
// partition is always 0.
func (b *Broker) Subscribe(ctx context.Context, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) error {
	sub, err := pubsub.NewSubscription(b, topic, group, h, opts...)
	if err != nil {
		return err
	}
	if !b.enter() {
		return fmt.Errorf("inbox: subscribe %s: %w", topic, pubsub.ErrClosed)
	}
	defer b.users.Done()
	return sub.Run(ctx, func(ctx context.Context) error {
		addr, err := b.hub.listen(ctx)
		if err != nil {
			return err
		}
		m := newMember(ctx, sub)
		return m.run(ctx, b, addr)
	})
}

// member is a running subscription.
type member struct {
	sub     *pubsub.Subscription
	id      string
	pool    *lanes.Pool[*letter]
	queue   *lanes.Partition[*letter]
	leaving chan struct{} // closed: nothing more is taken
	left    chan struct{} // closed: what is not handled now goes back

	turn chan struct{} // capacity 1: holds whoever adds to the queue
	next int64         // offset; guarded by turn
}

// letter is an event in the hands of a member.
type letter struct {
	pubsub.Delivery

	done chan struct{} // closed when it is handled
}

func newMember(ctx context.Context, sub *pubsub.Subscription) *member {
	m := &member{
		sub:     sub,
		id:      fmt.Sprintf("m%016x", rand.Uint64()), //nolint:gosec // unique, and no secret
		leaving: make(chan struct{}),
		left:    make(chan struct{}),
		turn:    make(chan struct{}, 1),
	}
	m.pool = lanes.New(ctx, lanes.Config[*letter]{
		Concurrency: sub.Concurrency,
		Window:      sub.Window,
		Handle: func(ctx context.Context, l *letter, _ int) (time.Duration, error) {
			retryAfter, err := sub.Handle(ctx, &l.Delivery)
			if retryAfter == 0 && err == nil {
				close(l.done)
			}
			return retryAfter, err
		},
	})
	m.queue = m.pool.Partition(lanes.Position{})
	return m
}

// run takes events until ctx ends or the broker is closed, and then drains.
func (m *member) run(ctx context.Context, b *Broker, addr string) (err error) {
	m.sub.Rebalanced(nil) // until it is registered
	b.hub.add(m)
	now := time.Now()
	inst := &resolver.Instance{ID: m.id, Service: servicePrefix + m.sub.Topic, Addrs: []string{addr}, Labels: map[string]string{
		labelGroup: m.sub.Group,
		labelSince: strconv.FormatInt(now.UnixNano(), 10),
	}}
	switch m.sub.Start {
	case pubsub.First:
	case pubsub.Last:
		inst.Labels[labelStart] = labelLast
	case pubsub.At:
		inst.Labels[labelStart] = labelLast
		inst.Labels[labelSince] = strconv.FormatInt(min(m.sub.StartTime.UnixNano(), now.UnixNano()), 10)
	}
	announcer := resolver.NewAnnouncer(b.reg, inst)
	announcer.SetLogger(m.sub.Logger)
	announcer.OnChange(func(registered bool, _ error) {
		if registered {
			m.sub.Rebalanced(m.state)
			m.sub.Ready()
		}
	})
	announced, withdraw := context.WithCancel(context.WithoutCancel(ctx))
	defer withdraw()
	var announcing sync.WaitGroup
	var announceErr error
	announcing.Go(func() { announceErr = announcer.Run(announced) })

	check := time.NewTicker(pubsub.StallCheck)
	defer check.Stop()
	for stop := false; !stop; {
		select {
		case <-ctx.Done():
			stop = true
		case <-b.hub.left:
			stop, err = true, fmt.Errorf("inbox: subscribe %s: %w", m.sub.Topic, pubsub.ErrClosed)
		case <-check.C:
			if since := m.queue.Blocked(); since > 0 {
				m.sub.Stalled(0, m.queue.Position().Next, since)
			}
		}
	}
	close(m.leaving)
	withdraw() // beside the drain: those who ask in the meantime are refused
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.sub.DrainTimeout)
	defer cancel()
	m.queue.Drain(deadline)
	close(m.left)
	announcing.Wait()
	b.hub.remove(m)
	late, cancelLate := context.WithCancel(context.WithoutCancel(ctx))
	cancelLate() // the handlers have had their time
	abandoned := m.sub.Abandoned(m.pool.Close(late))
	if announceErr != nil {
		announceErr = fmt.Errorf("inbox: subscribe %s: %w", m.sub.Topic, announceErr)
	}
	return cmp.Or(err, abandoned, announceErr)
}

// state has what the member has in hand: what waits for it is with the publishers.
func (m *member) state() []pubsub.PartitionState {
	s := m.queue.State()
	return []pubsub.PartitionState{{Next: s.Next, Fetched: s.End, End: s.End, Pending: s.Pending, Standing: s.Standing, Blocked: s.Blocked}}
}

// deliver returns nil when e is handled.
func (m *member) deliver(ctx context.Context, e *pubsub.Message) error {
	l := &letter{Delivery: pubsub.Delivery{Message: e, Group: m.sub.Group}, done: make(chan struct{})}
	if err := m.add(ctx, l); err != nil {
		return err
	}
	select {
	case <-l.done:
		return nil
	case <-m.left:
		select {
		case <-l.done:
			return nil
		default:
			return errLeaves
		}
	case <-ctx.Done(): // the publisher is gone; what it has handed over is handled
		return status.FromContextError(ctx.Err()).Err()
	}
}

// add puts l into the queue. It waits while the window is full.
func (m *member) add(ctx context.Context, l *letter) error {
	select {
	case <-m.leaving:
		return errLeaves
	default:
	}
	select {
	case m.turn <- struct{}{}:
	case <-m.leaving:
		return errLeaves
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	defer func() { <-m.turn }()
	l.Offset = m.next
	m.next++
	switch err := m.queue.Add(ctx, l.Offset, l.Key, l); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	default: // a drain, or a handler has failed for good
		return errLeaves
	}
}

// errLeaves gives an event back.
var errLeaves = status.Error(codes.Unavailable, "inbox: the member leaves the group")
