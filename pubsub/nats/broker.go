package nats

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/grpc-micro/micro/internal/dsn"
	"github.com/grpc-micro/micro/pubsub"
)

const (
	// requestTimeout bounds one request to JetStream. Each is tried again; one
	// that was on its way when the connection broke has no answer, and this is
	// how long it is waited for.
	requestTimeout = 2 * time.Second

	// ackTimeout is after how long a message is sent again that was not
	// acknowledged.
	ackTimeout = 5 * time.Second
)

var _ pubsub.Broker = (*Broker)(nil)

// Broker publishes to and subscribes topics on a NATS server or cluster with
// JetStream. Its methods are safe for concurrent use.
type Broker struct {
	options

	conn   *connection
	topics sync.Map // of *topic by name

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	mu     sync.Mutex     // guards users, against an Add after Close has begun
	users  sync.WaitGroup // calls of Publish and Subscribe
}

// New returns a broker for the cluster that the servers at addrs, host:port
// each, belong to; without a port it is 4222. It does not connect: a server
// that is away shows in the calls. The caller closes it.
func New(addrs []string, opts ...Option) (*Broker, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if addrs, err = dsn.Addrs("nats", "4222", addrs); err != nil {
		return nil, err
	}
	b := &Broker{options: o, conn: newConnection(addrs, o)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

// Close implements [pubsub.Broker]. Subscriptions that still run end with
// [pubsub.ErrClosed].
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	b.cancel()
	b.mu.Unlock()

	finished := make(chan struct{})
	go func() {
		defer close(finished)
		b.users.Wait()
	}()
	var err error
	select {
	case <-finished:
	case <-ctx.Done():
		err = fmt.Errorf("nats: close: a message is not acknowledged yet, or a subscription goes on: %w", context.Cause(ctx))
	}
	b.conn.close()
	return err
}

// enter counts a call in; users.Done ends it. It is false once Close has begun.
func (b *Broker) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return false
	}
	b.users.Add(1)
	return true
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
