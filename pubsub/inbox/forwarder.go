package inbox

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

// forwardsAtOnce bounds the events of a group that are with its members.
const forwardsAtOnce = 1024

// errStopping ends a forward without an answer: the group has no members.
var errStopping = errors.New("inbox: the group has no members")

// forwarder delivers a topic to a group while it has members. It is a
// subscription to our own log, which keeps each key in order, and remembers where
// the group is.
type forwarder struct {
	t        *topic
	group    string // "" for a broadcast
	handled  *handled
	members  atomic.Pointer[members]
	stopping chan struct{}
	troubled atomic.Bool // it was logged that nobody takes events
}

// members are those of a group at one time.
type members struct {
	peers   []*peer
	changed chan struct{} // closed when there are others
}

// update takes over who the members are. The topic's watch alone calls it.
func (f *forwarder) update(insts []*resolver.Instance) {
	peers := make([]*peer, len(insts))
	for i, inst := range insts {
		peers[i] = f.t.b.peers.get(inst)
	}
	before := f.members.Swap(&members{peers: peers, changed: make(chan struct{})})
	if before != nil {
		close(before.changed)
		for _, p := range before.peers {
			f.t.b.peers.release(p)
		}
	}
}

// start begins to deliver, and returns when everything that is appended from then
// on will be.
func (f *forwarder) start(ctx context.Context) {
	ready := make(chan struct{})
	f.t.b.work.Go(func() {
		ctx, cancel := context.WithCancel(ctx)
		f.t.b.work.Go(func() {
			defer cancel()
			select {
			case <-f.stopping:
			case <-ctx.Done():
			}
		})
		defer cancel()
		log := slog.New(onlyErrors{f.t.b.logger.Handler()}) // each try that fails is no news
		err := f.t.b.log.Subscribe(ctx, f.t.name, f.group, f.forward,
			pubsub.WithStart(pubsub.First), pubsub.WithReady(func() { close(ready) }), pubsub.WithConcurrency(forwardsAtOnce),
			pubsub.WithWindow(f.t.b.retention), pubsub.WithSubscribeLogger(log), pubsub.WithRetry(pubsub.RetryPolicy{Attempts: -1, MaxBackoff: time.Second}))
		if err != nil && ctx.Err() == nil {
			f.t.b.logger.Error("inbox: a group gets no events any more", "topic", f.t.name, "group", f.group, "error", err)
		}
	})
	select {
	case <-ready:
	case <-ctx.Done():
	}
}

// forward hands one event to a member, until one has handled it.
func (f *forwarder) forward(ctx context.Context, d *pubsub.Delivery) error {
	if f.t.appended(d.Offset) < f.handled.since {
		f.finish(d)
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.t.b.ctx, cancel)()
	for try := 0; ; try++ {
		now := f.members.Load()
		last := errStopping
		for _, p := range order(now.peers, d.Message) {
			if last = f.t.b.peers.deliver(ctx, p, d.Message); last == nil {
				f.finish(d)
				return nil
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if try == patience && f.troubled.CompareAndSwap(false, true) {
			f.t.b.logger.Warn("inbox: no member of a group takes an event, trying again", "topic", f.t.name, "group", f.group, "id", d.ID, "members", len(now.peers), "error", last)
		}
		pause := time.NewTimer(backoff(try))
		select {
		case <-pause.C:
		case <-now.changed:
			pause.Stop()
		case <-f.stopping:
			pause.Stop()
			return errStopping
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

// patience is how many rounds over the members may fail before that is worth a
// line: members that leave refuse events until we are told that they are gone.
const patience = 5

func (f *forwarder) finish(d *pubsub.Delivery) {
	f.troubled.Store(false)
	f.handled.add(d.Offset)
	f.t.b.moved()
}

// handled is which of the events in the log a group has handled.
type handled struct {
	start int64          // what the log had before is not the group's
	since int64          // nor what was appended before this time
	ring  []atomic.Int64 // one above the offset that was handled, by offset % len
}

func newHandled(start int64, retention int) *handled {
	return &handled{start: start, ring: make([]atomic.Int64, retention)}
}

func (h *handled) add(offset int64) { h.ring[offset%int64(len(h.ring))].Store(offset + 1) }

// left counts those from offset on that are not handled.
func (h *handled) left(from, to int64) (n int64) {
	for o := max(from, h.start); o < to; o++ {
		if h.ring[o%int64(len(h.ring))].Load() != o+1 {
			n++
		}
	}
	return n
}

// onlyErrors passes on what is lost, and nothing less.
type onlyErrors struct{ slog.Handler }

func (h onlyErrors) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && h.Handler.Enabled(ctx, l)
}

func (h onlyErrors) WithAttrs(attrs []slog.Attr) slog.Handler {
	return onlyErrors{h.Handler.WithAttrs(attrs)}
}

func (h onlyErrors) WithGroup(name string) slog.Handler { return onlyErrors{h.Handler.WithGroup(name)} }
