package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver"
)

const (
	defaultPrefix = "micro/services"

	// An etcd election takes a second or two, in which nothing is renewed; the
	// client then backs off. A lease that ends earlier than that takes a healthy
	// service away.
	defaultTTL = 15 * time.Second

	// callTimeout bounds a call whose ctx has no deadline.
	callTimeout = 5 * time.Second

	// maxOps is etcd's default limit of operations in a transaction.
	maxOps = 128
)

// Option configures New.
type Option func(*Registry)

// WithPrefix sets the part of the keyspace to use, without a slash at either
// end. The default is micro/services.
func WithPrefix(prefix string) Option { return func(r *Registry) { r.prefix = prefix } }

// WithTTL sets how long a process that has died, or is cut off from etcd, is
// still found. The default is 15 s, the least is 1 s; etcd counts in seconds.
// Below 5 s a change of etcd's leader is enough to lose a registration.
func WithTTL(ttl time.Duration) Option { return func(r *Registry) { r.ttl = ttl } }

// WithLogger sets where to log values that cannot be read. The default is
// slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(r *Registry) { r.logger = logger } }

// Registry is a registry on etcd. Its methods are safe for concurrent use.
type Registry struct {
	client     *clientv3.Client
	closer     func() error // of a client of our own
	prefix     string
	ttl        time.Duration
	logger     *slog.Logger
	unreadable atomic.Int64

	ctx    context.Context // ends with Close; of what outlives a call
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

var _ resolver.Registry = (*Registry)(nil)

// New returns a registry on client, which stays the caller's to close, after
// the registry.
func New(client *clientv3.Client, opts ...Option) (*Registry, error) {
	r := &Registry{client: client, prefix: defaultPrefix, ttl: defaultTTL, logger: slog.Default()}
	for _, opt := range opts {
		opt(r)
	}
	switch {
	case client == nil:
		return nil, errors.New("etcd: no client: pass what clientv3.New returns")
	case r.prefix == "" || r.prefix != strings.Trim(path.Clean(r.prefix), "/") || strings.HasPrefix(r.prefix, "."):
		return nil, fmt.Errorf("etcd: prefix %q: write it like %s, without a slash at either end", r.prefix, defaultPrefix)
	case r.ttl < time.Second:
		return nil, fmt.Errorf("etcd: TTL %v: give at least 1s", r.ttl)
	case r.logger == nil:
		return nil, errors.New("etcd: WithLogger(nil): leave the option out for slog.Default()")
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// Endpoints returns the host:port of etcd's servers.
func (r *Registry) Endpoints() []string {
	endpoints := r.client.Endpoints()
	for i, e := range endpoints {
		if _, rest, ok := strings.Cut(e, "://"); ok {
			endpoints[i] = rest
		}
	}
	return endpoints
}

// Unreadable returns how many values could not be read so far.
func (r *Registry) Unreadable() int64 { return r.unreadable.Load() }

// key of an instance; the slash keeps foo from matching foobar.
func (r *Registry) key(service, id string) string { return r.dir(service) + id }

func (r *Registry) dir(service string) string { return r.prefix + "/" + service + "/" }

// Register implements resolver.Registrar. It blocks on etcd: for at most 5 s, if
// ctx has no deadline.
func (r *Registry) Register(ctx context.Context, insts ...*resolver.Instance) (resolver.Registration, error) {
	puts, err := r.puts(insts)
	if err != nil {
		return nil, err
	}
	if r.ctx.Err() != nil {
		return nil, resolver.ErrClosed
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	lease, err := r.client.Grant(ctx, int64(math.Ceil(r.ttl.Seconds())))
	if err != nil {
		return nil, r.explain(ctx, "register "+insts[0].Service, err)
	}
	g := newRegistration(r, lease.ID, puts)
	if err := g.put(ctx); err != nil {
		return nil, errors.Join(r.explain(ctx, "register "+insts[0].Service, err), g.revoke(context.WithoutCancel(ctx)))
	}
	if err := g.start(); err != nil {
		return nil, errors.Join(r.explain(ctx, "register "+insts[0].Service, err), g.revoke(context.WithoutCancel(ctx)))
	}
	return g, nil
}

// puts returns what to write, in the order of insts.
func (r *Registry) puts(insts []*resolver.Instance) ([]entry, error) {
	if err := resolver.ValidateInstances(insts...); err != nil {
		return nil, err
	}
	entries := make([]entry, len(insts))
	for i, inst := range insts {
		value, err := encode(inst)
		if err != nil {
			return nil, err
		}
		entries[i] = entry{r.key(inst.Service, inst.ID), value}
	}
	return entries, nil
}

// Services implements resolver.Registry. It blocks on etcd: for at most 5 s, if
// ctx has no deadline.
func (r *Registry) Services(ctx context.Context) ([]string, error) {
	if r.ctx.Err() != nil {
		return nil, resolver.ErrClosed
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	res, err := r.client.Get(ctx, r.prefix+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, r.explain(ctx, "list services", err)
	}
	var names []string
	for _, kv := range res.Kvs { // in the order of the keys
		name, _, ok := strings.Cut(strings.TrimPrefix(string(kv.Key), r.prefix+"/"), "/")
		if ok && resolver.ValidateService(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names) // "a-b/" sorts before "a/"
	return slices.Compact(names), nil
}

// Close implements resolver.Registry: it ends watches and renewals, and waits
// for them.
func (r *Registry) Close() error {
	if r.ctx.Err() != nil {
		return nil
	}
	r.cancel()
	r.tasks.Wait()
	if r.closer != nil {
		return r.closer()
	}
	return nil
}

// bounded gives a call a deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, callTimeout)
}

// explain says where etcd should be, when it did not answer.
func (r *Registry) explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("etcd: %s: no answer from etcd at %s: is it running, and reachable from here? %w", what, strings.Join(r.Endpoints(), ","), err)
	}
	return fmt.Errorf("etcd: %s: %w", what, err)
}
