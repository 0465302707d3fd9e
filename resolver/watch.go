package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	grpcresolver "google.golang.org/grpc/resolver"
)

// watch is the one watch that the ClientConns of a process share for a service
// in a Discovery. It never gives up, and never forgets what it last knew.
type watch struct {
	key       watchKey
	service   string
	discovery Discovery
	logger    *slog.Logger
	nudge     chan struct{} // of capacity 1
	cancel    context.CancelFunc

	users     int         // guarded by shared
	lingering *time.Timer // likewise; nil while there are users

	mu    sync.Mutex // guards what follows; never held while calling out
	state state
	conns map[*clientResolver]bool
}

// state is what a watch knows. Its slices are never written once they are here.
type state struct {
	version   int
	known     bool // the registry has answered at least once
	instances []*Instance
	endpoints []grpcresolver.Endpoint // of instances, in the same order
	err       error                   // why it is not known
}

type watchKey struct {
	discovery any
	service   string
}

// shared holds the watches of this process. NewClient makes a builder for each
// ClientConn, so they cannot be shared anywhere else.
var shared = struct {
	sync.Mutex // before watch.mu

	watches map[watchKey]*watch
}{watches: make(map[watchKey]*watch)}

// acquire returns the watch of a service and counts the caller as its user.
func acquire(b *builder, service string) *watch {
	k := watchKey{b.discovery, service}
	if !reflect.ValueOf(b.discovery).Comparable() {
		k.discovery = b // it cannot be told from others, so it shares within its builder
	}
	shared.Lock()
	defer shared.Unlock()
	w := shared.watches[k]
	if w == nil {
		ctx, cancel := context.WithCancel(context.Background())
		w = &watch{
			key: k, service: service, discovery: b.discovery, logger: b.logger,
			nudge: make(chan struct{}, 1), cancel: cancel, conns: make(map[*clientResolver]bool),
		}
		shared.watches[k] = w
		go w.run(ctx)
	}
	w.users++
	if w.lingering != nil {
		w.lingering.Stop()
		w.lingering = nil
	}
	return w
}

// release is the end of a use. After the last one the watch lingers.
func release(w *watch, linger time.Duration) {
	shared.Lock()
	defer shared.Unlock()
	w.users--
	switch {
	case w.users > 0:
	case shared.watches[w.key] != w: // its registry was closed
		w.cancel()
	default:
		w.lingering = time.AfterFunc(linger, w.expire)
	}
}

// expire ends a watch that nobody came back for.
func (w *watch) expire() {
	shared.Lock()
	defer shared.Unlock()
	if w.users == 0 && shared.watches[w.key] == w {
		delete(shared.watches, w.key)
		w.cancel()
	}
}

// abandon ends the watch of a registry that was closed. Who still uses it keeps
// what it knew; the next one starts anew and is told.
func (w *watch) abandon() {
	shared.Lock()
	defer shared.Unlock()
	if shared.watches[w.key] == w {
		delete(shared.watches, w.key)
	}
	if w.lingering != nil {
		w.lingering.Stop()
	}
	if w.users == 0 {
		w.cancel()
	}
}

func (w *watch) run(ctx context.Context) {
	quiet := time.AfterFunc(silence, func() {
		w.fail(fmt.Errorf("resolver: no answer about %s for %v: is the registry running, and reachable from here?", w.service, silence))
	})
	defer quiet.Stop()
	retry, down := newBackoff(), false
	for {
		err := errors.New("it ended without a reason")
		for instances, watchErr := range w.discovery.Watch(ctx, w.service) {
			if watchErr != nil {
				err = watchErr
				break
			}
			quiet.Stop()
			w.update(instances)
			if down {
				w.logger.Info("resolver: watching again", "service", w.service, "instances", len(instances))
				down = false
			}
		}
		quiet.Stop()
		if ctx.Err() != nil {
			return
		}
		w.fail(fmt.Errorf("resolver: watch %s: %w", w.service, err))
		if errors.Is(err, ErrClosed) {
			w.abandon()
			return
		}
		if !down { // one line a change, not one an attempt
			w.logger.Warn("resolver: watch failed, keeping the instances last known and trying again", "service", w.service, "error", err)
			down = true
		}
		if !retry.pause(ctx, w.nudge) {
			return
		}
	}
}

// update takes a snapshot over. What did not change keeps its pointer and its
// endpoint, also when the registry was listed anew, so that one change among
// 10,000 costs one.
func (w *watch) update(next []*Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.state
	endpoints := make([]grpcresolver.Endpoint, len(next))
	changed := !last.known || len(next) != len(last.instances)
	owned := false // next is still the registry's slice
	at := 0
	for i, inst := range next {
		for at < len(last.instances) && last.instances[at].ID < inst.ID {
			at++
		}
		if at == len(last.instances) || !last.instances[at].Equal(inst) {
			endpoints[i] = EndpointOf(inst)
			changed = true
			continue
		}
		endpoints[i] = last.endpoints[at]
		if last.instances[at] != inst {
			if !owned {
				next, owned = slices.Clone(next), true
			}
			next[i] = last.instances[at]
		}
	}
	if changed {
		w.set(state{known: true, instances: next, endpoints: endpoints})
	}
}

// fail tells the ClientConns why there is no answer. Once there was one, it is
// worth more than none.
func (w *watch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.state.known {
		w.set(state{err: err})
	}
}

// set needs w.mu.
func (w *watch) set(s state) {
	s.version = w.state.version + 1
	w.state = s
	for r := range w.conns {
		select {
		case r.changed <- struct{}{}:
		default: // it has not yet looked at the one before, and will see this one
		}
	}
}

func (w *watch) latest() state {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

func (w *watch) join(r *clientResolver) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[r] = true
}

func (w *watch) leave(r *clientResolver) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, r)
}

func (w *watch) hurry() {
	select {
	case w.nudge <- struct{}{}:
	default: // it is asked already
	}
}
