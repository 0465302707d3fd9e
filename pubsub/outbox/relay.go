package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

const (
	// statementTimeout bounds one statement of a relay.
	statementTimeout = 5 * time.Second

	// stopTimeout is how long a batch may still take when Run is told to stop.
	stopTimeout = 5 * time.Second

	// purgeInterval is how often published events are deleted that were kept
	// for long enough.
	purgeInterval = time.Minute
)

// RelayOption sets something of a Relay.
type RelayOption func(*Relay)

// WithPoll sets how often an idle relay looks for events. Default: 200 ms.
func WithPoll(d time.Duration) RelayOption { return func(r *Relay) { r.poll = d } }

// WithBatch bounds the events of one Publish call. Default: 200.
func WithBatch(n int) RelayOption { return func(r *Relay) { r.batch = n } }

// WithLease sets for how long a relay is the one that works, unless it says
// again that it is: after a crash that is the pause. A batch has a third of it, or
// more, to be published. Those that stand by ask each tenth of it. Default: 15 s.
func WithLease(d time.Duration) RelayOption { return func(r *Relay) { r.lease = d } }

// WithKeep keeps published events for some time, with the time of their
// publication in the column published (milliseconds of the Unix era). Default: 0,
// they are deleted at once.
func WithKeep(d time.Duration) RelayOption { return func(r *Relay) { r.keep = d } }

// WithLogger sets where failures are logged. Default: slog.Default().
func WithLogger(l *slog.Logger) RelayOption { return func(r *Relay) { r.log = l } }

// Relay publishes what is in an outbox. Its methods are safe for concurrent use,
// apart from Run, which runs once.
type Relay struct {
	box   *Outbox
	db    *sql.DB
	to    pubsub.Publisher
	owner string
	poll  time.Duration
	batch int
	lease time.Duration
	keep  time.Duration
	log   *slog.Logger
	wake  chan struct{} // capacity 1

	leased time.Time // until when we are the one that works; Run's alone, as is what follows
	purged time.Time
	held   *held

	running   atomic.Bool
	active    atomic.Bool
	published atomic.Int64
	failed    atomic.Int64
	waiting   atomic.Int64
}

// Relay returns a relay that publishes with p what transactions on db have
// written. Run it.
func (o *Outbox) Relay(db *sql.DB, p pubsub.Publisher, opts ...RelayOption) (*Relay, error) {
	r := &Relay{
		box: o, db: db, to: p,
		owner: fmt.Sprintf("%016x", rand.Uint64()), //nolint:gosec // unique, and no secret
		poll:  200 * time.Millisecond, batch: 200, lease: 15 * time.Second, log: slog.Default(),
		wake: make(chan struct{}, 1),
		held: newHeld(),
	}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("outbox: nil RelayOption")
		}
		opt(r)
	}
	switch {
	case db == nil || p == nil:
		return nil, errors.New("outbox: a relay needs a database and a publisher")
	case r.poll <= 0:
		return nil, fmt.Errorf("outbox: poll interval %v: it must be above 0", r.poll)
	case r.batch < 1:
		return nil, fmt.Errorf("outbox: batch of %d: at least 1 event must fit", r.batch)
	case r.lease < 100*time.Millisecond:
		return nil, fmt.Errorf("outbox: lease of %v: it must be 100ms or more", r.lease)
	case r.keep < 0:
		return nil, fmt.Errorf("outbox: keep for %v: it cannot be negative", r.keep)
	case r.log == nil:
		return nil, errors.New("outbox: nil logger: use slog.DiscardHandler for silence")
	}
	r.log = r.log.With("outbox", o.table)
	return r, nil
}

// Wake makes an idle relay look for events at once. It does not block.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Stats is what a Relay has done since it was made.
type Stats struct {
	Active    bool  // it is the one that works
	Published int64 // events
	Failed    int64 // tries that an event did not get through, by any cause
	Held      int64 // keys that wait because an event of theirs has failed
}

// Stats returns the figures of now.
func (r *Relay) Stats() Stats {
	return Stats{Active: r.active.Load(), Published: r.published.Load(), Failed: r.failed.Load(), Held: r.waiting.Load()}
}

// Run publishes events, or stands by while another relay does, until ctx ends;
// then it finishes the batch in hand, for 5 s at most, gives the lease away and
// returns nil. When the database or the broker is away, it waits for it; what
// goes wrong is logged. Its only error is that it runs already.
func (r *Relay) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return errors.New("outbox: this relay runs already: make one more")
	}
	defer r.running.Store(false)
	defer r.resign(context.WithoutCancel(ctx))
	broken := ""
	for try := 0; ctx.Err() == nil; {
		more, err := r.step(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if broken != err.Error() {
				r.log.Error("outbox: the relay waits, and tries again", "error", err)
			}
			broken = err.Error()
			r.sleep(ctx, backoff(try, maxPause), nil)
			try++
		default:
			if broken != "" {
				r.log.Info("outbox: the relay goes on")
			}
			try, broken = 0, ""
			switch {
			case !r.active.Load():
				r.sleep(ctx, max(r.poll, r.lease/10), nil)
			case !more:
				r.sleep(ctx, r.held.until(r.poll), r.wake)
			}
		}
	}
	return nil
}

// sleep waits for some time, but not longer than until ctx ends, or wake.
func (r *Relay) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// step publishes a batch, and says whether there may be more right away.
func (r *Relay) step(ctx context.Context) (more bool, err error) {
	if ours, err := r.claim(ctx); err != nil || !ours {
		return false, err
	}
	if err := r.purge(ctx); err != nil {
		return false, err
	}
	events, err := r.read(ctx)
	if err != nil || len(events) == 0 {
		return false, err
	}
	published, again, err := r.publish(ctx, events)
	if err == nil && len(published) > 0 {
		err = r.takeOut(ctx, published)
	}
	return again || len(events) == r.batch, err
}

// claim takes the lease, or keeps it, and reports whether we have it for long
// enough for a batch.
func (r *Relay) claim(ctx context.Context) (bool, error) {
	if time.Until(r.leased) > r.lease*2/3 {
		return true, nil
	}
	began := time.Now()
	ours, err := r.exec(ctx, r.box.queries.claim, r.owner, r.lease.Milliseconds())
	if err != nil || ours == 0 {
		if r.active.Swap(false) {
			r.log.Warn("outbox: another relay works now")
		}
		r.held = newHeld() // it has tried again what was held here
		r.waiting.Store(0)
		return false, err
	}
	r.leased = began.Add(r.lease)
	if !r.active.Swap(true) {
		r.log.Info("outbox: this relay works now")
	}
	return true, nil
}

// resign gives the lease away.
func (r *Relay) resign(ctx context.Context) {
	r.leased = time.Time{}
	if r.active.Swap(false) {
		_, _ = r.exec(ctx, r.box.queries.resign, r.owner) // else it runs out
	}
}

// publish publishes events and returns those that the broker has. It holds the
// keys of the others back. again says that some were only not sent because
// another one was rejected: they can go at once, without it.
func (r *Relay) publish(ctx context.Context, events []event) (published []int64, again bool, err error) {
	ctx, cancel := batchContext(ctx, time.Until(r.leased.Add(-r.lease/3)))
	defer cancel()
	msgs := make([]*pubsub.Message, len(events))
	for i := range events {
		msgs[i] = events[i].message
	}
	results := make([]error, len(events))
	if err := r.to.Publish(ctx, msgs...); err != nil {
		failure, ok := errors.AsType[*pubsub.PublishError](err)
		if !ok || len(failure.Results) != len(events) {
			return nil, false, fmt.Errorf("publish: the broker's error has no result for each message: %w", err)
		}
		results = failure.Results
	}
	rejected := slices.ContainsFunc(results, func(err error) bool { return errors.Is(err, pubsub.ErrRejected) })
	for i, err := range results {
		e := &events[i]
		switch {
		case err == nil:
			r.held.release(e.lane)
			published = append(published, e.seq)
		case rejected && errors.Is(err, pubsub.ErrNotSent):
			again = true
		default:
			r.fail(e, err)
		}
	}
	r.published.Add(int64(len(published)))
	r.waiting.Store(r.held.count())
	return published, again, nil
}

// batchContext ends after some time, and soon after ctx does.
func batchContext(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	batch, cancel := context.WithTimeout(context.WithoutCancel(ctx), d)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(stopTimeout, cancel) })
	return batch, func() {
		stop()
		cancel()
	}
}

// fail holds the lane of an event back that the broker does not have.
func (r *Relay) fail(e *event, cause error) {
	r.failed.Add(1)
	limit := maxPause
	if errors.Is(cause, pubsub.ErrRejected) {
		limit = maxRejectedPause
	}
	pause, first := r.held.hold(e.lane, limit)
	if first {
		r.log.Warn("outbox: an event was not published, its key waits", "seq", e.seq, "id", e.message.ID, "topic", e.message.Topic, "after", pause, "error", cause)
	}
}

// takeOut deletes published events, or marks them. It is worth some patience:
// what is left is published again.
func (r *Relay) takeOut(ctx context.Context, seqs []int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(time.Until(r.leased), statementTimeout))
	defer cancel()
	for try := 0; ; try++ {
		_, err := r.exec(ctx, r.box.queries.done(seqs, r.keep > 0))
		if err == nil {
			return nil
		}
		r.sleep(ctx, backoff(try, time.Second), nil)
		if ctx.Err() != nil {
			return fmt.Errorf("take out %d published events, which will be published again: %w", len(seqs), err)
		}
	}
}

// purge deletes what was kept for long enough.
func (r *Relay) purge(ctx context.Context) error {
	if r.keep == 0 || time.Since(r.purged) < min(purgeInterval, r.keep) {
		return nil
	}
	r.purged = time.Now()
	_, err := r.exec(ctx, r.box.queries.purge, r.keep.Milliseconds())
	return err
}

// exec returns how many rows a statement has changed.
func (r *Relay) exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	result, err := r.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
