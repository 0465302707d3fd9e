package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/internal/dsn"
	"github.com/grpc-micro/micro/pubsub"
)

const (
	// requestTimeout bounds one request to a server.
	requestTimeout = 10 * time.Second

	// metadataTTL is how old kafka-go's copy of the metadata gets, and how long
	// it waits for a new one. Its own default of 6 s is how long a topic stays
	// unknown that somebody else has created.
	metadataTTL = time.Second

	// healInterval is the least time between two heals.
	healInterval = 100 * time.Millisecond
)

var _ pubsub.Broker = (*Broker)(nil)

// Broker publishes to and subscribes topics of a Kafka cluster. Its methods are
// safe for concurrent use.
type Broker struct {
	options

	addrs     []string
	dialer    *dialer
	transport *kafkago.Transport
	client    *kafkago.Client
	healed    atomic.Int64 // when, in nanoseconds of the Unix era

	topics    sync.Map // of *topic by name
	servers   sync.Map // of *server by ID
	producers producers

	ctx     context.Context // ends what still runs when Close has waited long enough
	cancel  context.CancelFunc
	closed  context.Context // ends when Close begins
	close   context.CancelFunc
	mu      sync.Mutex     // guards what follows, against an Add after Close has begun
	subs    sync.WaitGroup // Subscribe calls
	senders sync.WaitGroup // the senders' goroutines
}

// New returns a broker for the cluster that the servers at addrs, host:port
// each, belong to; without a port it is 9092. It does not connect: a server
// that is away shows in the calls. The caller closes it.
func New(addrs []string, opts ...Option) (*Broker, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if addrs, err = dsn.Addrs("kafka", "9092", addrs); err != nil {
		return nil, err
	}
	b := &Broker{
		options: o,
		addrs:   addrs,
		dialer:  newDialer(),
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.closed, b.close = context.WithCancel(b.ctx)
	b.transport = &kafkago.Transport{
		Dial:        b.dialer.dial,
		DialTimeout: dialTimeout,
		MetadataTTL: o.metadataTTL,
		ClientID:    o.clientID,
		TLS:         o.tls,
		SASL:        o.sasl,
	}
	b.client = &kafkago.Client{
		Addr:      kafkago.TCP(addrs...),
		Timeout:   requestTimeout,
		Transport: b.transport,
	}
	b.producers = producers{b: b, asking: make(chan struct{}, 1)}
	return b, nil
}

// Close implements [pubsub.Broker]. Subscriptions that still run end with
// [pubsub.ErrClosed].
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	b.close()
	b.mu.Unlock()

	finished := make(chan struct{})
	go func() {
		defer close(finished)
		b.senders.Wait()
		b.subs.Wait()
	}()
	var err error
	select {
	case <-finished:
	case <-ctx.Done():
		err = fmt.Errorf("kafka: close: not everything was flushed, or a subscription goes on: %w", ended(ctx))
	}
	b.cancel() // ends the requests; what waits behind them goes back to its caller
	b.senders.Wait()
	b.dialer.close()
	b.transport.CloseIdleConnections()
	return err
}

func (b *Broker) isClosed() bool { return b.closed.Err() != nil }

// heal makes kafka-go read the metadata again, by the only way there is: to
// close the connections it does not use. Requests in hand go on. A moved leader
// is found within a millisecond so, and with the TTL only after up to a second.
func (b *Broker) heal() {
	now := time.Now().UnixNano()
	last := b.healed.Load()
	if now-last > int64(healInterval) && b.healed.CompareAndSwap(last, now) {
		b.transport.CloseIdleConnections()
	}
}

// healAfter heals if err says that the metadata may be out of date: a server that
// does not answer may lead nothing any more.
func (b *Broker) healAfter(err error) {
	if noLeader(err) || unknownTopic(err) || unanswered(err) {
		b.heal()
	}
}

// unreachable words an error that keeps us from the cluster.
func (b *Broker) unreachable(err error) error {
	what := "no answer from"
	if _, ok := errors.AsType[kafkago.Error](err); ok {
		what = "no success with"
	}
	return fmt.Errorf("%s %s: %w%s", what, strings.Join(b.addrs, ", "), err, remedy(err))
}

// backoff is how long to wait before try n; 0 is the first one after a failure.
func backoff(n int) time.Duration {
	d := min(10*time.Millisecond<<min(n, 10), 500*time.Millisecond)
	return d/2 + rand.N(d/2) //nolint:gosec // spreads load, hides nothing
}

// pause waits before try n; it is false when ctx has ended.
func pause(ctx context.Context, n int) bool {
	t := time.NewTimer(backoff(n))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
