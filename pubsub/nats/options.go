package nats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// Option sets something of a Broker.
type Option func(*options)

// WithTLS connects by TLS. An empty ServerName stands for the name of each
// server. Default: no TLS, unless the server asks for it.
func WithTLS(c *tls.Config) Option {
	return WithClientOptions(natsgo.Secure(c))
}

// WithUser authenticates with a user and a password. Without TLS they can be
// read by whoever reads the connection. Default: no authentication.
func WithUser(user, password string) Option {
	return WithClientOptions(natsgo.UserInfo(user, password))
}

// WithClientOptions passes options on to nats.go: for authentication by other
// means, a dialer, or a server in this process (nats.InProcessServer). Those
// that say how to reconnect are this package's.
func WithClientOptions(opts ...natsgo.Option) Option {
	return func(o *options) { o.client = append(slices.Clip(o.client), opts...) }
}

// WithAutoCreate creates the stream of a topic that has none, when it is first
// published to or subscribed, with so many partitions; all its limits are
// JetStream's defaults. It is meant for development: in production a mistyped
// name should be an error. Default: a topic without a stream is an error.
func WithAutoCreate(partitions int) Option {
	return func(o *options) { o.create, o.partitions = true, partitions }
}

// WithReplicas sets how many servers hold what this package creates: streams
// (WithAutoCreate), and the buckets of the groups, which it always creates when
// they do not exist. Give 3 in a cluster. Default: 1.
func WithReplicas(n int) Option { return func(o *options) { o.replicas = n } }

// WithClientName sets the name that servers show in logs and monitoring.
// Default: "micro".
func WithClientName(name string) Option { return func(o *options) { o.name = name } }

// WithConnectTimeout bounds how long Subscribe waits for a server that was
// never reached before it returns an error. Once it has worked, it tries for
// ever. Default: 10 s.
func WithConnectTimeout(d time.Duration) Option { return func(o *options) { o.connect = d } }

// WithPublishTimeout bounds a Publish whose context has no deadline.
// Default: 30 s.
func WithPublishTimeout(d time.Duration) Option { return func(o *options) { o.publish = d } }

// WithSessionTimeout sets after how long without a sign of life a member's
// partitions go to others: how long a crash stops them. All members of a group
// should have the same. Default: 10 s.
func WithSessionTimeout(d time.Duration) Option { return func(o *options) { o.session = d } }

// WithLogger sets where lost connections are logged; what belongs to one
// subscription goes to that one's logger. Default: slog.Default().
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

type options struct {
	client                    []natsgo.Option
	create                    bool
	partitions, replicas      int
	name                      string
	connect, publish, session time.Duration
	logger                    *slog.Logger
}

// maxPartitions keeps a typing error from making a topic whose groups have tens
// of thousands of entries.
const maxPartitions = 1024

func newOptions(opts []Option) (options, error) {
	o := options{
		replicas: 1,
		name:     "micro",
		connect:  10 * time.Second,
		publish:  30 * time.Second,
		session:  10 * time.Second,
		logger:   slog.Default(),
	}
	for _, opt := range opts {
		if opt == nil {
			return o, errors.New("nats: nil Option")
		}
		opt(&o)
	}
	return o, o.check()
}

func (o *options) check() error {
	switch {
	case slices.ContainsFunc(o.client, func(opt natsgo.Option) bool { return opt == nil }):
		return errors.New("nats: nil client option")
	case o.create && (o.partitions < 1 || o.partitions > maxPartitions):
		return fmt.Errorf("nats: auto create with %d partitions: give 1 to %d", o.partitions, maxPartitions)
	case o.replicas < 1 || o.replicas > 5:
		return fmt.Errorf("nats: %d replicas: JetStream has 1 to 5", o.replicas)
	case o.connect <= 0:
		return fmt.Errorf("nats: connect timeout %v: it must be above 0", o.connect)
	case o.publish <= 0:
		return fmt.Errorf("nats: publish timeout %v: it must be above 0", o.publish)
	case o.session < minSession || o.session > maxSession:
		return fmt.Errorf("nats: session timeout %v: give %v to %v", o.session, minSession, maxSession)
	case o.logger == nil:
		return errors.New("nats: nil logger: use slog.DiscardHandler for silence")
	}
	return nil
}
