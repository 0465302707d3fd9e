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
	snapshots string // a folder, or ""
	saver     *saver // nil without snapshots
	logger    *slog.Logger
	nudge     chan struct{} // of capacity 1
	cancel    context.CancelFunc

	users     int         // guarded by shared
	lingering *time.Timer // likewise; nil while there are users

	mu     sync.Mutex // guards what follows; never held while calling out
	state  state
	config configWatch
	raw    []*Instance // what the registry said last
	grace  grace

	stored   []*Instance // by an earlier process
	storedAt time.Time

	conns map[*clientResolver]bool

	// For WatchState, whose words these are.
	held           int
	saved          time.Time
	watching       bool
	since, changed time.Time
	failures       int64
	err            error
}

// state is what a watch tells clients. Its slices are never written once they are here.
type state struct {
	version   int
	known     bool // the registry has answered at least once
	instances []*Instance
	endpoints []grpcresolver.Endpoint // of instances, in the same order
	near      []grpcresolver.Endpoint // the same, with the local sockets of those on this host
	err       error                   // why it is not known

	config  string // grpc's service config; "": none
	settled bool   // config is
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
			key: k, service: service, discovery: b.discovery, snapshots: b.snapshots, logger: b.logger,
			nudge: make(chan struct{}, 1), cancel: cancel, conns: make(map[*clientResolver]bool),
			grace: grace{length: b.grace}, since: time.Now(),
		}
		w.saver = newSaver(w, b.snapshots)
		shared.watches[k] = w
		go w.run(ctx)
	}
	if w.users++; w.users == 1 {
		w.saver.start()
	}
	if w.lingering != nil {
		w.lingering.Stop()
		w.lingering = nil
	}
	return w
}

// release is the end of a use. After the last one the watch lingers, and nothing
// more is saved.
func release(w *watch, linger time.Duration) {
	if saved := w.drop(linger); saved != nil {
		w.saver.await(saved)
	}
}

// drop returns, after the last use and if there is a saver, what is closed when
// all is saved.
func (w *watch) drop(linger time.Duration) (saved <-chan struct{}) {
	shared.Lock()
	defer shared.Unlock()
	w.users--
	switch {
	case w.users > 0:
		return nil
	case shared.watches[w.key] != w: // its registry was closed
		w.cancel()
	default:
		w.lingering = time.AfterFunc(linger, w.expire)
	}
	return w.saver.stop()
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
	defer w.settle()
	w.load()
	var configs sync.WaitGroup
	defer configs.Wait()
	if c, ok := w.discovery.(Configurer); ok {
		configs.Go(func() { w.runConfig(ctx, c) })
	} else {
		w.settleConfig()
	}
	defer time.AfterFunc(silence, w.settleConfig).Stop()
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

// load reads what an earlier process has saved.
func (w *watch) load() {
	if w.snapshots == "" {
		return
	}
	insts, at, err := readSnapshot(w.snapshots, w.service)
	if err != nil {
		w.logger.Warn("resolver: ignoring a snapshot that cannot be read", "file", snapshotFile(w.snapshots, w.service), "error", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stored, w.storedAt = insts, at
}

// recall takes over what an earlier process knew, since this one knows nothing.
// It needs w.mu.
func (w *watch) recall() {
	w.logger.Warn("resolver: starting with the instances of a snapshot", "service", w.service, "instances", len(w.stored), "saved", w.storedAt)
	w.raw, w.saved = w.stored, w.storedAt
	w.grace.outage(w.stored)
	w.show(w.stored)
}

// settle ends what does not end with run.
func (w *watch) settle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.grace.end()
}

// update takes a snapshot over.
func (w *watch) update(raw []*Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(true, nil)
	w.raw, w.saved = raw, time.Time{}
	w.cover()
	w.saver.changed()
}

// cover shows what the registry said last, and what is not believed to be gone.
// It needs w.mu.
func (w *watch) cover() {
	before := w.held
	given, held := w.grace.cover(w.raw, w.forgive)
	if w.held = held; before == 0 && held > 0 {
		w.logger.Warn("resolver: most instances have vanished right after an outage, keeping them for a while", "service", w.service, "registered", len(w.raw), "kept", held, "for", w.grace.length)
	}
	w.show(given)
}

// forgive is the end of the grace.
func (w *watch) forgive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.grace.pending { // the next outage has begun
		return
	}
	if w.held > 0 {
		w.logger.Warn("resolver: dropping instances that vanished in an outage and did not come back", "service", w.service, "registered", len(w.raw), "dropped", w.held)
	}
	w.grace.end()
	w.cover()
}

// turn notes whether the registry is there. It needs w.mu.
func (w *watch) turn(watching bool, err error) {
	if watching != w.watching {
		w.watching, w.since = watching, time.Now()
	}
	w.err = err
}

// show gives clients a snapshot. What did not change keeps its pointer and its
// endpoint, also when the registry was listed anew, so that one change among
// 10,000 costs one. It needs w.mu.
func (w *watch) show(next []*Instance) {
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
		w.changed = time.Now()
		w.logger.Debug("resolver: instances changed", "service", w.service, "instances", len(next), "before", len(last.instances))
		w.set(state{known: true, instances: next, endpoints: endpoints, near: nearby(next, endpoints)})
	}
}

// fail tells the ClientConns why there is no answer. Once there was one, it is
// worth more than none.
func (w *watch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(false, err)
	w.failures++
	w.grace.outage(w.state.instances)
	switch {
	case w.state.known:
	case len(w.stored) > 0:
		w.recall()
	default:
		w.set(state{err: err})
	}
}

// set needs w.mu.
func (w *watch) set(s state) {
	s.version = w.state.version + 1
	s.config, s.settled = w.config.json, w.config.settled
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
