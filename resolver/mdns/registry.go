package mdns

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/grpc-micro/micro/resolver"
)

const (
	defaultDomain = "local"
	defaultTTL    = 30 * time.Second
	defaultQuery  = 10 * time.Second
	maxTTL        = time.Hour
)

// Option configures New.
type Option func(*Registry)

// WithInterfaces sets the network interfaces to use, by name. The default is all
// that are up and have multicast and an IPv4 address, without loopback and
// tunnels. "lo" reaches this machine only.
func WithInterfaces(names ...string) Option { return func(r *Registry) { r.interfaces = names } }

// WithDomain sets the DNS domain of all names. The default is local, which is
// what other programs browse. Another one keeps apart what shares a LAN:
// "staging.local".
func WithDomain(domain string) Option { return func(r *Registry) { r.domain = domain } }

// WithTTL sets how long what is registered here is still found after this process
// has died without a goodbye. The default is 30 s, the least is 1 s, the most is
// an hour; DNS counts in seconds.
func WithTTL(ttl time.Duration) Option { return func(r *Registry) { r.ttl = ttl } }

// WithQueryInterval sets how often to ask for a service that is watched: changes
// are announced without that, and this is for what got lost on the way. The
// default is 10 s, the least is 1 s. It is shorter, where something has a TTL below three times that,
// or was not heard of for long, and varies by a fifth.
func WithQueryInterval(d time.Duration) Option { return func(r *Registry) { r.query = d } }

// WithLogger sets where to log announcements that cannot be read, and that the
// network has gone or come back. The default is slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(r *Registry) { r.logger = logger } }

// Registry is a registry on the LAN. Its methods are safe for concurrent use.
type Registry struct {
	interfaces []string
	domain     string
	ttl, query time.Duration
	logger     *slog.Logger

	firstAnswer, lookEvery time.Duration // the constants, but for tests

	names   names
	net     *network
	token   string // in the names of all that is announced here
	id      uint16 // of the queries from the direct socket, and their answers
	skipped skipped

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // the goroutines
	calls  sync.WaitGroup // those under way, that mu lets in until closed
	wake   chan struct{}  // of capacity 1: something is due sooner
	close  func() error

	mu      sync.Mutex // guards what follows; never held while sending
	closed  bool
	store   store
	numbers int // of the names given out
	live    map[*registration]bool
	agenda  agenda
	planned time.Time     // when run looks at what is due
	trouble error         // why nothing could be sent, last
	failed  chan struct{} // closed when trouble is set, and replaced
}

var _ resolver.Registry = (*Registry)(nil)

// New returns a registry on the LAN. It fails when a named interface is not there
// or has no multicast, and when UDP port 5353 cannot be shared; that there is no
// network just now shows in the calls.
func New(opts ...Option) (*Registry, error) { return newRegistry(net.Interfaces, opts) }

func newRegistry(list func() ([]net.Interface, error), opts []Option) (*Registry, error) {
	r := &Registry{
		domain: defaultDomain, ttl: defaultTTL, query: defaultQuery, logger: slog.Default(),
		firstAnswer: firstAnswer, lookEvery: lookEvery,
		wake: make(chan struct{}, 1), live: make(map[*registration]bool), agenda: newAgenda(), failed: make(chan struct{}),
	}
	for _, opt := range opts {
		opt(r)
	}
	switch {
	case r.ttl < time.Second || r.ttl > maxTTL:
		return nil, fmt.Errorf("mdns: TTL %v: give one of 1s to %v", r.ttl, maxTTL)
	case r.query < time.Second:
		return nil, fmt.Errorf("mdns: query interval %v: give at least 1s", r.query)
	case r.logger == nil:
		return nil, errors.New("mdns: WithLogger(nil): leave the option out for slog.Default()")
	}
	var err error
	if r.names, err = newNames(r.domain); err != nil {
		return nil, fmt.Errorf("mdns: %w", err)
	}
	r.store = newStore(r.names)
	if r.net, err = openNetwork(r.interfaces, list); err != nil {
		return nil, err
	}
	r.token, r.id = secret()
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.close = sync.OnceValue(r.stop)
	r.look()
	r.tasks.Go(func() { r.hear(r.net.shared, true) })
	r.tasks.Go(func() { r.hear(r.net.direct, false) })
	r.tasks.Go(r.run)
	return r, nil
}

// secret returns what nobody else on the LAN chooses, too.
func secret() (token string, id uint16) {
	var random [10]byte
	_, _ = rand.Read(random[:])                                                         // never fails
	return hex.EncodeToString(random[:8]), uint16(random[8])<<8 | uint16(random[9]) | 1 // 0 is in what is said to all
}

// Endpoints returns this machine's addresses on the interfaces that are used, for
// whoever wants to announce one of them; the group's, if there is none.
func (r *Registry) Endpoints() []string {
	addrs := r.net.addrs()
	if len(addrs) == 0 {
		return []string{group.String()}
	}
	endpoints := make([]string, len(addrs))
	for i, ip := range addrs {
		endpoints[i] = netip.AddrPortFrom(ip, port).String()
	}
	return endpoints
}

// Unreadable returns how many senders and names were skipped so far because what
// they announce could not be read as an instance.
func (r *Registry) Unreadable() int64 { return r.skipped.total() }

// Register implements resolver.Registrar. It announces insts and returns: nobody
// confirms anything. It fails when no network interface takes the announcement,
// and when an instance does not fit into a message.
func (r *Registry) Register(ctx context.Context, insts ...*resolver.Instance) (resolver.Registration, error) {
	if err := resolver.ValidateInstances(insts...); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("mdns: register %s of %s: %w", insts[0].ID, insts[0].Service, err)
	}
	if err := r.begin(); err != nil {
		return nil, err
	}
	defer r.calls.Done()
	g := &registration{r: r, what: insts[0].ID + " of " + insts[0].Service, lost: make(chan struct{})}
	if err := g.enter(insts); err != nil {
		return nil, err
	}
	if err := r.announce(ctx, g.entries); err != nil {
		g.leave()
		_ = r.announce(r.ctx, g.entries) // to those that heard of some of it
		return nil, fmt.Errorf("mdns: register %s: %w", g.what, err)
	}
	return g, nil
}

// Services implements resolver.Registry: it asks the LAN, and returns when the
// answers have ceased, after 250 ms to 1 s.
func (r *Registry) Services(ctx context.Context) ([]string, error) {
	if err := r.begin(); err != nil {
		return nil, err
	}
	defer r.calls.Done()
	if err := r.gather(ctx); err != nil {
		return nil, fmt.Errorf("mdns: list services: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name, s := range r.store.services {
		if len(s.claims) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// begin lets a call in, which ends with calls.Done.
func (r *Registry) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return resolver.ErrClosed
	}
	r.calls.Add(1)
	return nil
}

// Close implements resolver.Registry: it says goodbye for what is still
// registered, ends watches and calls, and waits for all but the watches, which
// are their callers'.
func (r *Registry) Close() error { return r.close() }

func (r *Registry) stop() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.calls.Wait()

	r.mu.Lock()
	entries := r.agenda.unsaid()
	for g := range r.live {
		entries = append(entries, g.entries...)
		g.withdraw()
		close(g.lost)
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	_ = r.announce(ctx, entries) // else they go when their time is over
	err := r.net.close()
	r.tasks.Wait()
	return err
}
