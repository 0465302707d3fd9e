package pubsub

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// SubscribeOption sets something of one subscription.
type SubscribeOption interface{ applySubscribe(*subscribeOptions) }

// TopicOption sets something of a [Topic].
type TopicOption interface{ applyTopic(*topicOptions) }

// Option is both: given to [NewTopic] it is the default of each subscription,
// given to Subscribe it wins.
type Option interface {
	SubscribeOption
	TopicOption
}

// WithRetry sets how a message is tried again whose handler failed. Default:
// the zero [RetryPolicy].
func WithRetry(p RetryPolicy) Option {
	return subscribeOption(func(o *subscribeOptions) { o.retry = p })
}

// WithDeadLetter puts a message aside that cannot be handled: one whose error
// is [Permanent], that does not decode, or whose attempts are used up. It goes
// to the topic <topic>.<group>.dead (<topic>.dead of a broadcast) as it came,
// with headers that [DeadLetterOf] reads, and then counts as handled. Default:
// no dead letters; such a message ends the subscription with its error.
func WithDeadLetter() Option {
	return subscribeOption(func(o *subscribeOptions) { o.dead, o.deadTopic = true, "" })
}

// WithDeadLetterTopic is [WithDeadLetter] with a topic of that name.
func WithDeadLetterTopic(topic string) Option {
	return subscribeOption(func(o *subscribeOptions) { o.dead, o.deadTopic = true, topic })
}

// WithConcurrency sets how many handlers of the subscription may run at once;
// messages of one key are handled one at a time whatever it is. Bound it by what
// handlers share, as the connections of a database: 1 is a loop. Default: 128, with
// which handlers that wait for others, and do not compute, keep up.
func WithConcurrency(n int) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.concurrency = n })
}

// WithWindow bounds how far a partition runs ahead of its oldest unfinished
// message, in messages: so many can be in memory, and so many can be handled
// again after a crash. A full window stops the partition until that message is
// done; when that takes long, it is logged ([WithStallAfter]). Default: 4096.
func WithWindow(n int) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.window = n })
}

// Start is where a subscription without a committed offset begins.
type Start int

const (
	// First is the oldest message that the topic still has.
	First Start = iota + 1
	// Last is behind the newest message: only what comes from now on.
	Last
	// At is a time: [WithStartTime].
	At
)

// WithStart sets where a new group begins. A group that has committed offsets
// goes on from there. Default: [First], so that nothing is missed that was
// published before the first member was up; for a broadcast [Last].
func WithStart(s Start) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.start = s })
}

// WithStartTime has a new group begin at what was published at t or later, in each
// partition; where there is nothing, at what comes from now on. The broker's clock counts where it has one: that of the message in
// Kafka (or of the server, by the topic's message.timestamp.type), to the
// millisecond; that of the server in NATS; that of the publisher in an inbox.
func WithStartTime(t time.Time) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.start, o.startTime = At, t })
}

// WithReady has f called once, while Subscribe runs, when every message that is
// published from then on will be delivered to the group: the member has joined,
// and knows where its partitions begin. f must not block.
func WithReady(f func()) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.ready = f })
}

// WithMiddleware wraps the handler: the first middleware is the outermost, and
// those of several options add up. [Recover] stands at both ends by itself: a
// middleware sees a panic of the handler as an error, and a panic of its own
// does no harm either.
func WithMiddleware(m ...Middleware) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) {
		o.middleware = append(slices.Clip(o.middleware), m...)
	})
}

// WithTombstones has h called for tombstones, messages with a nil Value, in
// place of the handler. Default: a typed subscription treats a tombstone as an
// event that does not decode, because it holds no event; an untyped one gives
// it to its handler.
func WithTombstones(h Handler) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.tombstones = h })
}

// WithDrainTimeout sets how long handlers may go on after the subscription was
// told to stop, or lost their partition. Then their context ends, and what
// they have not finished is delivered again, to another member or later.
// Default: 10 s.
func WithDrainTimeout(d time.Duration) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.drain = d })
}

// WithStallAfter sets after how long a partition counts as stalled that has
// messages to handle, of which none is fetched or comes to an end, or of which the
// broker tells nothing. That is logged, once, as is that it goes on, and is to be
// seen in [PartitionState]. Default: 30 s.
func WithStallAfter(d time.Duration) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.stall = d })
}

// WithLimit has Subscribe return nil once n messages are acknowledged, and
// handles no more than that. Default: no limit.
func WithLimit(n int) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.limit, o.limited = n, true })
}

// WithSubscribeLogger sets where failed tries, panics, dead letters and
// partitions that stand still are logged. Default: slog.Default().
func WithSubscribeLogger(l *slog.Logger) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.logger = l })
}

type subscribeOptions struct {
	retry       RetryPolicy
	dead        bool
	deadTopic   string
	delays      []time.Duration
	stage       *stage
	concurrency int
	window      int
	start       Start
	startTime   time.Time
	ready       func()
	middleware  []Middleware
	tombstones  Handler
	drain       time.Duration
	stall       time.Duration
	gate        *Gate
	limit       int
	limited     bool
	logger      *slog.Logger
}

type subscribeOption func(*subscribeOptions)

func (f subscribeOption) applySubscribe(o *subscribeOptions) { f(o) }

func (f subscribeOption) applyTopic(o *topicOptions) { o.subscribe = append(o.subscribe, f) }

func newSubscribeOptions(opts []SubscribeOption) (subscribeOptions, error) {
	o := subscribeOptions{concurrency: 128, window: 4096, drain: 10 * time.Second, stall: 30 * time.Second, logger: slog.Default()}
	for _, opt := range opts {
		if opt == nil {
			return o, errors.New("pubsub: nil SubscribeOption")
		}
		opt.applySubscribe(&o)
	}
	return o, o.check()
}

func (o *subscribeOptions) check() error {
	if err := o.retry.check(); err != nil {
		return err
	}
	for _, m := range o.middleware {
		if m == nil {
			return errors.New("pubsub: nil Middleware")
		}
	}
	switch {
	case o.concurrency < 1:
		return fmt.Errorf("pubsub: concurrency %d: at least 1 handler must run", o.concurrency)
	case o.window < 1:
		return fmt.Errorf("pubsub: window %d: at least 1 message must fit", o.window)
	case o.start < 0 || o.start > At:
		return fmt.Errorf("pubsub: start %d: use First or Last", o.start)
	case o.start == At && o.startTime.IsZero():
		return errors.New("pubsub: start at no time: give WithStartTime one, or use WithStart(First)")
	case o.drain < 0:
		return fmt.Errorf("pubsub: drain timeout %v: it cannot be negative", o.drain)
	case o.stall <= 0:
		return fmt.Errorf("pubsub: stall after %v: it must be above 0", o.stall)
	case o.limited && o.limit < 1:
		return fmt.Errorf("pubsub: limit %d: at least 1 message must be handled", o.limit)
	case o.logger == nil:
		return errors.New("pubsub: nil logger: use slog.DiscardHandler for silence")
	}
	return nil
}
