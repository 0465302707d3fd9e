package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

// Option sets something of a Broker.
type Option func(*options)

// WithTLS connects by TLS. An empty ServerName stands for the name of each
// broker. Default: no TLS.
func WithTLS(c *tls.Config) Option { return func(o *options) { o.tls = c } }

// WithSASL authenticates with a user and a password. mechanism is PLAIN,
// SCRAM-SHA-256 or SCRAM-SHA-512, in any case. PLAIN shows the password to
// whoever reads the connection: use TLS with it. Default: no authentication.
func WithSASL(mechanism, user, password string) Option {
	return func(o *options) { o.mechanism, o.user, o.password = mechanism, user, password }
}

// WithAutoCreate creates topics that do not exist, when they are first
// published to or subscribed, and by [pubsub.EnsureTopics], which gives them what
// they declare instead. Zero partitions, or a zero replication factor,
// stands for the broker's default (Kafka 2.4 and later). It is meant for
// development: in production a mistyped name should be an error. Default: an
// unknown topic is an error.
func WithAutoCreate(partitions, replication int) Option {
	return func(o *options) { o.create, o.newPartitions, o.newReplicas = true, partitions, replication }
}

// WithCompression compresses what is published: gzip, snappy, lz4 or zstd.
// Default: none.
func WithCompression(name string) Option { return func(o *options) { o.compressionName = name } }

// WithClientID sets the name that the servers see in logs, metrics and quotas.
// Default: "micro".
func WithClientID(id string) Option { return func(o *options) { o.clientID = id } }

// WithConnectTimeout bounds how long Subscribe waits for a server that was
// never reached before it returns an error. Once it has worked, it tries for
// ever. Default: 10 s.
func WithConnectTimeout(d time.Duration) Option { return func(o *options) { o.connect = d } }

// WithPublishTimeout bounds a Publish whose context has no deadline.
// Default: 30 s.
func WithPublishTimeout(d time.Duration) Option { return func(o *options) { o.publish = d } }

// WithSessionTimeout sets after how long without a sign of life a member's
// partitions go to others: how long a crash stops them. Kafka allows 6 s to
// 30 min by default. Default: 10 s.
func WithSessionTimeout(d time.Duration) Option { return func(o *options) { o.session = d } }

// WithLogger sets where lost connections and the like are logged; what belongs
// to one subscription goes to that one's logger. Default: slog.Default().
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

type options struct {
	tls                        *tls.Config
	mechanism, user, password  string
	create                     bool
	newPartitions, newReplicas int // 0: the broker's default
	compressionName            string
	clientID                   string
	connect, publish, session  time.Duration
	logger                     *slog.Logger

	growPause   time.Duration // how often new partitions of a topic are looked for; tests change it
	metadataTTL time.Duration // how often the metadata are read again for no reason; tests change it
	unknownFor  time.Duration // for how long a topic must be unknown before we believe it; tests change it

	sasl        sasl.Mechanism // worked out by check
	compression kafkago.Compression
}

func newOptions(opts []Option) (options, error) {
	o := options{
		clientID: "micro",
		connect:  10 * time.Second,
		publish:  30 * time.Second,
		session:  10 * time.Second,
		logger:   slog.Default(),

		growPause:   5 * time.Second,
		metadataTTL: metadataTTL,
		unknownFor:  unknownFor,
	}
	for _, opt := range opts {
		if opt == nil {
			return o, errors.New("kafka: nil Option")
		}
		opt(&o)
	}
	return o, o.check()
}

func (o *options) check() (err error) {
	if o.mechanism != "" {
		if o.sasl, err = newMechanism(o.mechanism, o.user, o.password); err != nil {
			return err
		}
	}
	if name := o.compressionName; name != "" && name != "none" {
		if err := o.compression.UnmarshalText([]byte(name)); err != nil {
			return fmt.Errorf("kafka: compression %q: use gzip, snappy, lz4 or zstd", name)
		}
	}
	switch {
	case o.newPartitions < 0 || o.newPartitions > math.MaxInt32:
		return fmt.Errorf("kafka: auto create with %d partitions: give 1 or more, or 0 for the broker's default", o.newPartitions)
	case o.newReplicas < 0 || o.newReplicas > math.MaxInt16:
		return fmt.Errorf("kafka: auto create with replication factor %d: give 1 or more, or 0 for the broker's default", o.newReplicas)
	case o.connect <= 0:
		return fmt.Errorf("kafka: connect timeout %v: it must be above 0", o.connect)
	case o.publish <= 0:
		return fmt.Errorf("kafka: publish timeout %v: it must be above 0", o.publish)
	case o.session < time.Second:
		return fmt.Errorf("kafka: session timeout %v: it must be 1s or more, and most clusters want 6s", o.session)
	case o.logger == nil:
		return errors.New("kafka: nil logger: use slog.DiscardHandler for silence")
	}
	return nil
}
