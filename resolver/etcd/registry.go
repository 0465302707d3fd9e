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
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver"
)

const (
	defaultPrefix  = "micro/services"
	defaultTimeout = 5 * time.Second

	// An etcd election takes a second or two, in which nothing is renewed; the
	// client then backs off. A lease that ends earlier than that takes a healthy
	// service away.
	defaultTTL = 15 * time.Second

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

// WithTimeout sets how long a call whose ctx has no deadline waits for etcd. The
// default is 5 s.
func WithTimeout(d time.Duration) Option { return func(r *Registry) { r.timeout = d } }

// WithLogger sets where to log values that cannot be read. The default is
// slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(r *Registry) { r.logger = logger } }

// Registry is a registry on etcd. Its methods are safe for concurrent use.
type Registry struct {
	client  *clientv3.Client
	closer  func() error // of a client of our own
	prefix  string
	ttl     time.Duration
	timeout time.Duration
	compare time.Duration // compareEvery, but for tests
	outage  time.Duration // longOutage, but for tests
	logger  *slog.Logger
	skipped skipped
	outages outages
	streams streams

	ctx    context.Context // ends with Close; of what outlives a call
	cancel context.CancelFunc
	mu     sync.Mutex // between Close and those that add to tasks
	tasks  sync.WaitGroup
	close  func() error
}

var _ resolver.Registry = (*Registry)(nil)

// New returns a registry on client, which stays the caller's to close, after
// the registry. It does not wait for etcd.
func New(client *clientv3.Client, opts ...Option) (*Registry, error) {
	r := &Registry{
		client: client, closer: func() error { return nil },
		prefix: defaultPrefix, ttl: defaultTTL, timeout: defaultTimeout, compare: compareEvery, outage: longOutage, logger: slog.Default(),
	}
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
	case r.timeout <= 0:
		return nil, fmt.Errorf("etcd: timeout %v: give one such as %v", r.timeout, defaultTimeout)
	case r.logger == nil:
		return nil, errors.New("etcd: WithLogger(nil): leave the option out for slog.Default()")
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.close = sync.OnceValue(r.stop)
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

// Unreadable returns how many values were skipped so far because they could not
// be read as an instance. A value that is seen again counts once.
func (r *Registry) Unreadable() int64 { return r.skipped.total() }

// key of an instance; the slash keeps foo from matching foobar.
func (r *Registry) key(service, id string) string { return r.dir(service) + id }

func (r *Registry) dir(service string) string { return r.prefix + "/" + service + "/" }

// Register implements resolver.Registrar. It blocks on etcd: for at most 5 s, if
// ctx has no deadline.
func (r *Registry) Register(ctx context.Context, insts ...*resolver.Instance) (resolver.Registration, error) {
	entries, err := r.entries(insts)
	if err != nil {
		return nil, err
	}
	call, err := r.begin(ctx, "register "+describe(insts))
	if err != nil {
		return nil, err
	}
	defer call.end()
	lease, err := r.client.Grant(call.ctx, int64(math.Ceil(r.ttl.Seconds())))
	if err != nil {
		return nil, call.failed(err)
	}
	g := newRegistration(r, lease.ID, entries)
	if err = g.put(call.ctx); err == nil {
		err = g.start()
	}
	if err != nil {
		return nil, errors.Join(call.failed(err), g.undo(call.ctx))
	}
	return g, nil
}

// entries returns what to write, in the order of insts.
func (r *Registry) entries(insts []*resolver.Instance) ([]entry, error) {
	if err := resolver.ValidateInstances(insts...); err != nil {
		return nil, err
	}
	entries := make([]entry, len(insts))
	for i, inst := range insts {
		value, err := encode(inst)
		if err != nil {
			return nil, err
		}
		entries[i] = entry{key: r.key(inst.Service, inst.ID), value: value}
	}
	return entries, nil
}

// describe names what is registered together, which is one process under its
// several names, as a rule.
func describe(insts []*resolver.Instance) string {
	text := insts[0].ID + " of " + insts[0].Service
	if more := len(insts) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Services implements resolver.Registry. It blocks on etcd: for at most 5 s, if
// ctx has no deadline.
func (r *Registry) Services(ctx context.Context) ([]string, error) {
	call, err := r.begin(ctx, "list services")
	if err != nil {
		return nil, err
	}
	defer call.end()
	res, err := r.client.Get(call.ctx, r.prefix+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, call.failed(err)
	}
	var names []string
	for _, kv := range res.Kvs { // in the order of the keys
		name, id, ok := strings.Cut(strings.TrimPrefix(string(kv.GetKey()), r.prefix+"/"), "/")
		if ok && id != "" && resolver.ValidateService(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names) // "a-b/" sorts before "a/"
	return slices.Compact(names), nil
}

// Close implements resolver.Registry: it ends watches, calls and renewals, and
// waits for all but the watches, which are their callers'. It blocks for a
// moment, or, when etcd is away while something is being registered, for the
// timeout.
func (r *Registry) Close() error { return r.close() }

func (r *Registry) stop() error {
	r.mu.Lock()
	r.cancel()
	r.mu.Unlock()
	r.tasks.Wait()
	return r.closer()
}
