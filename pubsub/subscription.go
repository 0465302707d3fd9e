package pubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Subscription is one Subscribe call as a driver sees it: what to fetch, and
// [Subscription.Handle] for each message. Middleware, retry, dead letters and
// the limit are in there, once for all brokers; a driver fetches, keeps the
// order of keys (with internal/lanes), and commits.
//
//	func (b *Broker) Subscribe(ctx context.Context, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) error {
//		sub, err := pubsub.NewSubscription(b, topic, group, h, opts...)
//		if err != nil {
//			return err
//		}
//		return sub.Run(ctx, func(ctx context.Context) error { … sub.Ready() … sub.Handle(…) … })
//	}
type Subscription struct {
	Topic        string
	Group        string        // "" for a broadcast
	Concurrency  int           // handlers at once, over all partitions
	Window       int           // messages from the oldest unfinished one to the newest fetched one, for each partition
	Start        Start         // First, Last or At
	StartTime    time.Time     // with At
	DrainTimeout time.Duration // from when fetching stops, or a partition is lost, to the end of the handlers' context
	DeadLetters  string        // the dead-letter topic, "" without one; a driver whose topics are declared checks that it exists
	Logger       *slog.Logger  // names the topic and the group

	count      counters
	watchdog   watchdog
	stallAfter time.Duration
	publisher  Publisher
	handler    Handler
	retry      RetryPolicy
	delays     []time.Duration // of retry topics
	stage      *stage          // not nil: it reads one of them, for another Subscription
	ready      func()
	gate       *Gate // nil: always open
	readyOnce  sync.Once
	limit      int // 0: none

	mu       sync.Mutex // guards what follows
	stop     context.CancelCauseFunc
	stopped  error // what ended the subscription, if it was a message
	running  int   // handlers, if there is a limit
	finished int
}

// NewSubscription checks what Subscribe was given. Dead letters go to p.
func NewSubscription(p Publisher, topic, group string, h Handler, opts ...SubscribeOption) (*Subscription, error) {
	if err := checkName("topic", topic); err != nil {
		return nil, err
	}
	if group != "" {
		if err := checkName("group", group); err != nil {
			return nil, err
		}
	}
	o, err := newSubscribeOptions(opts)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, fmt.Errorf("pubsub: subscribe to %s: nil handler", topic)
	}
	s := &Subscription{
		Topic:        topic,
		Group:        group,
		Concurrency:  o.concurrency,
		Window:       o.window,
		Start:        o.start,
		StartTime:    o.startTime,
		DrainTimeout: o.drain,
		Logger:       o.logger.With("topic", topic, "group", group),
		publisher:    p,
		handler:      chain(h, o.tombstones, o.middleware),
		retry:        o.retry.withDefaults(o.dead),
		stallAfter:   o.stall,
		gate:         o.gate,
		ready:        o.ready,
		limit:        o.limit,
	}
	s.watchdog.sub = s
	if s.limit > 0 {
		s.Concurrency = min(s.Concurrency, s.limit)
	}
	if s.Start == 0 {
		s.Start = First
		if group == "" {
			s.Start = Last
		}
	}
	if o.dead {
		s.DeadLetters = o.deadTopic
		if s.DeadLetters == "" {
			s.DeadLetters = deadTopicName(topic, group)
		}
		if err := checkName("dead-letter topic", s.DeadLetters); err != nil {
			return nil, err
		}
		if s.DeadLetters == topic {
			return nil, fmt.Errorf("pubsub: subscribe to %s: it cannot be its own dead-letter topic", topic)
		}
	}
	if o.stage != nil {
		s.adopt(o.stage)
	}
	if err := s.setDelays(o.delays); err != nil {
		return nil, err
	}
	return s, nil
}

// Run runs the driver's part and returns what Subscribe is to return. The
// context of fetch ends when Subscribe's does, when the limit is reached, and
// when a message ends the subscription. fetch then drains and returns nil, or
// what went wrong in doing so.
func (s *Subscription) Run(ctx context.Context, fetch func(ctx context.Context) error) error {
	if ctx.Err() != nil {
		return nil
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.mu.Lock()
	s.stop = stop
	s.mu.Unlock()
	s.count.since = time.Now()
	running.Lock()
	running.subs[s] = struct{}{}
	running.Unlock()
	var watching sync.WaitGroup
	watched, unwatch := context.WithCancel(ctx)
	watching.Go(func() { s.watchdog.run(watched) })
	err := s.withStages(ctx, fetch)
	unwatch()
	watching.Wait()
	running.Lock()
	delete(running.subs, s)
	running.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped != nil {
		return s.stopped
	}
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

// Ready says that nothing published from now on will be missed. Calls after the
// first do nothing, so a driver may call it at each rebalance.
func (s *Subscription) Ready() {
	s.readyOnce.Do(func() {
		if s.ready != nil {
			s.ready()
		}
	})
}

// Handle tries d once. ctx is the handlers' one, which ends at the drain
// deadline. The message is finished, and may be committed, when Handle returned
// (0, nil). With a pause it is not: Handle wants to be called again, with the
// same d, when that is over; its key waits, and nobody else. On a drain it is
// left unfinished instead. With an error the subscription ends and the message
// is not finished.
//
// Handle counts the attempts in d.Attempt, which begins at 0. Safe for
// concurrent use, though not for one d.
func (s *Subscription) Handle(ctx context.Context, d *Delivery) (retryAfter time.Duration, err error) {
	if pause := s.gate.pass(ctx); pause > 0 {
		return pause, nil
	}
	returned := false
	s.count.began.Add(1)
	defer func() {
		if !returned {
			err = fmt.Errorf("pubsub: subscription %s/%s ends: the handler of message %s at %d/%d has ended its goroutine (runtime.Goexit, FailNow of a test)",
				s.Topic, s.Group, d.ID, d.Partition, d.Offset)
		}
		if retryAfter == 0 && err == nil {
			s.count.handled.Add(1)
		} else {
			s.count.unhandled.Add(1)
		}
		if err != nil {
			s.fail(err)
		}
	}()
	switch {
	case s.limit == 0:
		retryAfter, err = s.try(ctx, d)
	case s.begin():
		retryAfter, err = s.try(ctx, d)
		s.end(retryAfter == 0 && err == nil)
	default:
		retryAfter = fullPause
	}
	returned = true
	return retryAfter, err
}

// StallCheck is how often a driver that does not tell its partitions
// ([Subscription.Rebalanced]) looks for those that a full window has stopped, to
// pass them to Stalled.
const StallCheck = 10 * time.Second

// Stalled logs that a full window has stopped a partition for the given time,
// and which message it waits for; below the time of WithStallAfter it is silent,
// because a full window is also how slow handlers hold up fetching. Of partitions
// that are told by Rebalanced it is logged without it.
func (s *Subscription) Stalled(partition int, oldest int64, since time.Duration) {
	if since >= s.stallAfter {
		s.Logger.Warn("pubsub: partition is stopped: its window is full (WithWindow) behind a message that does not come to an end",
			"partition", partition, "offset", oldest, "window", s.Window, "since", since)
	}
}

// Abandoned is what a driver returns at the end of a drain that n handlers
// outlasted although their context had ended: nil for none.
func (s *Subscription) Abandoned(n int) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("pubsub: subscription %s/%s has ended, and %d handlers run on past the drain timeout of %v: their messages will be delivered again",
		s.Topic, s.Group, n, s.DrainTimeout)
}

// try runs the handler, or goes on with what it ended in.
func (s *Subscription) try(ctx context.Context, d *Delivery) (time.Duration, error) {
	if s.stage != nil {
		var wait time.Duration
		if d, wait = s.stage.original(d); wait > 0 {
			return wait, nil
		}
	}
	if d.moving != nil {
		return s.move(ctx, d)
	}
	if cutOff(ctx) {
		return s.retry.InitialBackoff, nil
	}
	if len(d.Header) > 0 && forAnother(d.Message, d.Group) {
		return 0, nil
	}
	d.Attempt++
	err := s.handler(ctx, d)
	if err == nil {
		return 0, nil
	}
	if p, ok := errors.AsType[*postponed](err); ok {
		return p.after, nil
	}
	if cutOff(ctx) { // that is why it failed
		return s.retry.InitialBackoff, nil
	}
	permanent := isPermanent(err)
	if p, ok := errors.AsType[*PanicError](err); ok {
		s.Logger.Error("pubsub: handler panicked", at(d, "panic", p.Value, "stack", string(p.Stack))...)
	}
	switch {
	case !permanent && s.stage == nil && !s.retry.exhausted(d.Attempt):
		pause := s.retry.backoff(d.Attempt)
		s.count.retries.Add(1)
		s.Logger.Warn("pubsub: message failed, will be tried again", at(d, "after", pause, "error", err)...)
		return pause, nil
	case s.DeadLetters == "":
		return 0, fmt.Errorf("pubsub: subscription %s/%s ends: message %s at %d/%d failed at attempt %d, and there is no dead-letter topic (WithDeadLetter): %w",
			s.Topic, s.Group, d.ID, d.Partition, d.Offset, d.Attempt, err)
	}
	d.moving = &move{cause: err}
	if !permanent {
		d.moving.topic, d.moving.delay = s.next()
	}
	return s.move(ctx, d)
}

// cutOff reports that the drain deadline is over.
func cutOff(ctx context.Context) bool { return ctx.Err() != nil }

// move is a message on its way to a retry topic, or to that of dead letters.
type move struct {
	topic string // "": dead letters
	delay time.Duration
	cause error
	tries int
}

// deadTimeout bounds one try to publish a message elsewhere.
const deadTimeout = 10 * time.Second

// move publishes d elsewhere. Until that has succeeded the message is not
// finished, so that it is in one topic or the other.
func (s *Subscription) move(ctx context.Context, d *Delivery) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, deadTimeout)
	defer cancel()
	to := d.moving
	to.tries++
	var m *Message
	if to.topic == "" {
		m = deadLetter(s.DeadLetters, d, to.cause)
	} else {
		m = retryLater(to.topic, d, time.Now().Add(to.delay), to.cause)
	}
	if err := s.publisher.Publish(ctx, m); err != nil {
		pause := s.retry.backoff(to.tries)
		s.count.undelivered.Add(1)
		s.Logger.Error("pubsub: failed message not published to the other topic, will be tried again",
			at(d, "to", m.Topic, "after", pause, "cause", to.cause, "error", err)...)
		return pause, nil
	}
	if to.topic == "" {
		s.count.buried.Add(1)
		s.Logger.Error("pubsub: message is now a dead letter", at(d, "dead_letter_topic", m.Topic, "cause", to.cause)...)
	} else {
		s.count.delayed.Add(1)
		s.Logger.Warn("pubsub: message failed, will be tried again out of order", at(d, "to", m.Topic, "after", to.delay, "error", to.cause)...)
	}
	return 0, nil
}

// fullPause is when to ask again for a place under the limit: one is free if a
// handler in hand fails.
const fullPause = 100 * time.Millisecond

func (s *Subscription) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished+s.running >= s.limit {
		return false
	}
	s.running++
	return true
}

func (s *Subscription) end(finished bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if finished {
		s.finished++
	}
	if s.finished == s.limit && s.stop != nil {
		s.stop(errLimit)
	}
}

func (s *Subscription) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped == nil {
		s.stopped = err
	}
	if s.stop != nil {
		s.stop(err)
	}
}

var errLimit = errors.New("pubsub: limit reached")

// chain puts h behind the middleware, the first outermost.
func chain(h, tombstones Handler, middleware []Middleware) Handler {
	if tombstones != nil {
		events := h
		h = func(ctx context.Context, d *Delivery) error {
			if d.Value == nil {
				return tombstones(ctx, d)
			}
			return events(ctx, d)
		}
	}
	h = Recover(h)
	if len(middleware) == 0 {
		return h
	}
	for _, m := range slices.Backward(middleware) {
		h = m(h)
	}
	return Recover(h)
}

func deadTopicName(topic, group string) string {
	if group == "" {
		return topic + ".dead"
	}
	return topic + "." + group + ".dead"
}

// at returns log arguments that say which message it is.
func at(d *Delivery, more ...any) []any {
	return append([]any{"id", d.ID, "partition", d.Partition, "offset", d.Offset, "attempt", d.Attempt}, more...)
}
