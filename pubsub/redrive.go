package pubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// RedriveOption sets something of [Redrive].
type RedriveOption func(*redriveOptions)

// WithRedriveFilter leaves dead letters where they are for which f is false, and
// what is behind them with their key; a later Redrive sees them again. Those
// that are left are in memory until the run ends, and after some ten thousand of
// them in a partition it goes no further there. Default: all go back.
func WithRedriveFilter(f func(*Message, DeadLetter) bool) RedriveOption {
	return func(o *redriveOptions) { o.filter = f }
}

// WithRedriveIdle sets after how long without another dead letter Redrive is
// done. Default: 3 s.
func WithRedriveIdle(d time.Duration) RedriveOption {
	return func(o *redriveOptions) { o.idle = d }
}

// WithRedriveLogger sets where it is logged when one cannot be published.
// Default: slog.Default().
func WithRedriveLogger(l *slog.Logger) RedriveOption {
	return func(o *redriveOptions) { o.logger = l }
}

// Redrive publishes the messages of a dead-letter topic once more to the topics
// that they come from, when what kept them from being handled is mended. It
// returns how many they were when there are no more of them. Its error is that of
// ctx if that ends before, that of the broker, or that a message was rejected.
//
// A message goes back as it was, with its ID, and only the group that gave it up
// handles it: all others acknowledge it unseen. It comes behind what was
// published meanwhile with its key. If it fails again it is a dead letter again,
// for the next Redrive: a run takes each message once.
//
// Redrive is a group by the name of the topic and ".redrive", which remembers
// what has gone back; several at once share the work. What is in the topic and
// no dead letter is left there.
func Redrive(ctx context.Context, b Broker, deadLetters string, opts ...RedriveOption) (int, error) {
	o := redriveOptions{idle: 3 * time.Second, logger: slog.Default()}
	for _, opt := range opts {
		if opt == nil {
			return 0, errors.New("pubsub: nil RedriveOption")
		}
		opt(&o)
	}
	switch {
	case b == nil:
		return 0, fmt.Errorf("pubsub: redrive %s: nil Broker", deadLetters)
	case o.idle <= 0:
		return 0, fmt.Errorf("pubsub: redrive %s: idle time %v: it must be above 0", deadLetters, o.idle)
	}
	r := redriver{redriveOptions: o, broker: b, run: []byte(newID(time.Now()))}
	run, done := context.WithCancel(ctx)
	defer done()
	ready := func() { r.quiet.Store(time.AfterFunc(o.idle, done)) }
	err := b.Subscribe(run, deadLetters, deadLetters+".redrive", r.handle,
		WithStart(First), WithReady(ready), WithSubscribeLogger(o.logger), WithDrainTimeout(deadTimeout), WithWindow(1<<16),
		WithRetry(RetryPolicy{Attempts: -1, MaxBackoff: o.idle / 2})) // less than idle, or it would end between two tries
	if t := r.quiet.Load(); t != nil {
		t.Stop()
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("pubsub: redrive %s: %w", deadLetters, err)
	}
	return int(r.n.Load()), err
}

type redriveOptions struct {
	filter func(*Message, DeadLetter) bool
	idle   time.Duration
	logger *slog.Logger
}

type redriver struct {
	redriveOptions

	broker Broker
	run    []byte // names this run in what it publishes
	n      atomic.Int64
	quiet  atomic.Pointer[time.Timer] // ends the run; nil until it is ready
}

const (
	redrivePrefix = "micro-redrive-"

	redriveGroup = redrivePrefix + "group" // who is to handle it
	redriveRun   = redrivePrefix + "run"   // what has published it
)

// leave is for how long a message stays that does not go back: longer than any
// run.
const leave = 1000 * time.Hour

func (r *redriver) handle(ctx context.Context, d *Delivery) error {
	letter, ok := DeadLetterOf(d.Message)
	if !ok || slices.Equal(d.Header.Get(redriveRun), r.run) || r.filter != nil && !r.filter(d.Message, letter) {
		return &postponed{leave}
	}
	if t := r.quiet.Load(); t != nil {
		t.Reset(r.idle + deadTimeout) // not while it is being published
		defer t.Reset(r.idle)
	}
	ctx, cancel := context.WithTimeout(ctx, deadTimeout)
	defer cancel()
	if err := r.broker.Publish(ctx, redriven(d.Message, letter, r.run)); err != nil {
		if errors.Is(err, ErrRejected) {
			return Permanent(err)
		}
		return err
	}
	r.n.Add(1)
	return nil
}

// redriven returns the message that a dead letter was made of.
func redriven(dead *Message, letter DeadLetter, run []byte) *Message {
	m := *dead
	m.Topic = letter.Topic
	m.Header = make(Header, 0, len(dead.Header))
	for _, a := range dead.Header {
		if !strings.HasPrefix(a.Key, deadPrefix) && !strings.HasPrefix(a.Key, redrivePrefix) {
			m.Header = append(m.Header, a)
		}
	}
	m.Header = append(m.Header, Attr{redriveGroup, []byte(letter.Group)}, Attr{redriveRun, run})
	return &m
}

// forAnother reports whether m is in its topic again for another group alone.
func forAnother(m *Message, group string) bool {
	for _, a := range m.Header {
		if a.Key == redriveGroup {
			return string(a.Value) != group
		}
	}
	return false
}

// postponed is the error of a message that is to stay unfinished for some time,
// which is no failure.
type postponed struct{ after time.Duration }

func (p *postponed) Error() string { return fmt.Sprintf("pubsub: postponed by %v", p.after) }
