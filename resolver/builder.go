package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

const (
	defaultLinger = 30 * time.Second
	silence       = 2 * time.Second // without an answer, before calls are told why they wait
)

// BuilderOption configures NewBuilder.
type BuilderOption func(*builder)

// WithLinger sets how long the watch of a service goes on after its last
// ClientConn closed: grpc channels idle out and come back, and find the
// instances at once. The default is 30 s.
func WithLinger(d time.Duration) BuilderOption { return func(b *builder) { b.linger = d } }

// WithLogger sets where to log when a service can no longer be watched, and
// when it can again. The default is slog.Default().
func WithLogger(logger *slog.Logger) BuilderOption { return func(b *builder) { b.logger = logger } }

// WithGrace sets for how long after an outage of the registry a mass
// disappearance is not believed. If more than half of the instances known before
// are missing, because the registry was wiped or their leases ended while nobody
// could renew them, clients keep them for so long, and whether they live is left
// to their connections and health checks. Those that were draining go at once, and
// without an outage everything does. The default is 30 s; 0 turns it off.
func WithGrace(d time.Duration) BuilderOption { return func(b *builder) { b.grace = d } }

// WithSnapshots keeps the instances of each service in a file in dir, so that a
// client can start without the registry: it then calls those last known, once the
// registry has failed, or was silent for 2 s. What it starts with counts as known
// before an outage; see WithGrace. A file that is damaged is logged and ignored; a
// disk that is full or read-only is logged, and stops nothing. A file is written at
// most once a second, and only while there is a ClientConn: the Close of the last
// one returns when the last change is on disk, or after 1 s with a disk that hangs,
// and leaves nothing to be written. Use one folder for one registry; several
// processes may share it. By default there is none.
func WithSnapshots(dir string) BuilderOption { return func(b *builder) { b.snapshots = dir } }

// NewBuilder returns a grpc resolver for targets micro:///name, fed by d. Give
// it to one client with grpc.WithResolvers.
//
// All ClientConns of this process that resolve one service in one d share one
// watch, with the options of the one that came first. While the registry is
// away they keep the instances last known: an outage stops changes, not traffic.
// A service config that the registry keeps (SetServiceConfig) is handed on, before
// the instances and at each change; one that grpc refuses is logged, and leaves the
// last good one in force; grpc.WithDisableServiceConfig ignores it. Calls to a service that has no instance,
// or about which the registry is silent for 2 s, fail with Unavailable and the
// reason, unless they wait for ready.
//
// An instance on this host that has a local socket (Instance.Local) is dialled by
// that, and by Addrs when nobody answers there. A ClientConn with a dialer of the
// user's (grpc.WithContextDialer) gets Addrs only.
//
// Build does not block on the registry. d must outlive the ClientConns.
func NewBuilder(d Discovery, opts ...BuilderOption) grpcresolver.Builder {
	b := &builder{discovery: d, linger: defaultLinger, grace: defaultGrace, logger: slog.Default()}
	for _, opt := range opts {
		opt(b)
	}
	return b
}

type builder struct {
	discovery Discovery
	linger    time.Duration
	grace     time.Duration
	snapshots string // a folder, or ""
	logger    *slog.Logger
}

func (b *builder) Scheme() string { return Scheme }

// Build implements grpc's resolver.Builder. What a lingering watch knows is
// handed over before it returns.
func (b *builder) Build(target grpcresolver.Target, cc grpcresolver.ClientConn, opts grpcresolver.BuildOptions) (grpcresolver.Resolver, error) {
	service := target.Endpoint()
	switch err := ValidateService(service); {
	case b.discovery == nil:
		return nil, errors.New("resolver: NewBuilder was given no Discovery: pass what Open returns")
	case target.URL.Host != "":
		return nil, fmt.Errorf("resolver: target %s names a host: write %s:///%s", target.URL.String(), Scheme, service)
	case target.URL.RawQuery != "" || target.URL.Fragment != "":
		return nil, fmt.Errorf("resolver: target %s has parameters, and none is known: write %s:///%s", target.URL.String(), Scheme, service)
	case err != nil:
		return nil, fmt.Errorf("%w (target %s)", err, target.URL.String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &clientResolver{
		cc: cc, cancel: cancel, done: make(chan struct{}),
		watch: acquire(b, service), linger: b.linger,
		changed: make(chan struct{}, 1),
		dials:   opts.Dialer != nil,
	}
	r.watch.join(r)
	r.deliver()
	go r.run(ctx)
	return r, nil
}

// clientResolver brings the state of a shared watch to one ClientConn. It has a
// goroutine of its own, which delivers the latest state and skips what came in
// between, because cc.UpdateState blocks until the balancer is done and one
// slow ClientConn must not hold up the others.
type clientResolver struct {
	cc      grpcresolver.ClientConn
	watch   *watch
	linger  time.Duration
	changed chan struct{} // of capacity 1
	dials   bool          // the ClientConn has the user's dialer, which gets Addrs and nothing else
	cancel  context.CancelFunc
	done    chan struct{}

	// Touched by Build, then by run only.
	delivered int                        // version of the state
	has       bool                       // endpoints were given to cc
	json      string                     // the service config that was last looked at
	config    *serviceconfig.ParseResult // the last good one; nil: the client's default
}

func (r *clientResolver) run(ctx context.Context) {
	defer close(r.done)
	for {
		select {
		case <-r.changed:
			r.deliver()
		case <-ctx.Done():
			return
		}
	}
}

// deliver tells cc what is new. That the balancer does not like a state is its
// own affair: the next one comes when there is one.
func (r *clientResolver) deliver() {
	state := r.watch.latest()
	if state.version == r.delivered || !state.settled { // the config comes first: it says how to balance
		return
	}
	r.delivered = state.version
	endpoints := state.near
	if r.dials {
		endpoints = state.endpoints
	}
	switch {
	case len(endpoints) > 0:
		r.has = true
		_ = r.cc.UpdateState(grpcresolver.State{Endpoints: endpoints, ServiceConfig: r.parsed(state.config)})
	case state.known:
		// The last instance has gone: no call may go to the old ones, and none may
		// hang. A first state without endpoints would be the same to the caller,
		// but is no state for a balancer that has none yet.
		if r.has {
			_ = r.cc.UpdateState(grpcresolver.State{Endpoints: []grpcresolver.Endpoint{}, ServiceConfig: r.parsed(state.config)})
		}
		r.cc.ReportError(fmt.Errorf("resolver: no instances of %s: is one running, and registered in the same registry and prefix?", r.watch.service))
	case state.err != nil:
		r.cc.ReportError(state.err)
	}
}

// ResolveNow is grpc's hint that connections fail: a watch that waits to try
// again tries now.
func (r *clientResolver) ResolveNow(grpcresolver.ResolveNowOptions) { r.watch.hurry() }

func (r *clientResolver) Close() {
	r.watch.leave(r)
	r.cancel()
	<-r.done
	release(r.watch, r.linger)
}
