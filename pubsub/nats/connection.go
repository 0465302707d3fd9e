package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxPending is how many messages may be on their way without an
// acknowledgement, over all calls of Publish; further ones wait.
const maxPending = 1 << 14

// connection connects when it is first needed, for as long as it takes. Once it
// is connected, nats.go connects again by itself, for ever.
type connection struct {
	addrs  []string
	client []natsgo.Option
	log    *slog.Logger

	ctx     context.Context // ends when close begins
	cancel  context.CancelFunc
	dialing sync.WaitGroup
	start   sync.Once
	closed  chan struct{} // by nats.go, once its connection is down for good
	away    atomic.Int64  // since when there is no connection any more, in nanoseconds of the Unix era; 0: there is, or there was none yet

	mu    sync.Mutex // guards what follows
	nc    *natsgo.Conn
	js    jetstream.JetStream
	err   error         // of the last try, or that lost the connection
	tried chan struct{} // closed after each try
}

func newConnection(addrs []string, o options) *connection {
	c := &connection{addrs: addrs, log: o.logger, closed: make(chan struct{}), tried: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.client = append([]natsgo.Option{
		natsgo.Name(o.name),
		natsgo.Timeout(2 * time.Second),
		natsgo.SetCustomDialer(dialer{c.ctx}),
	}, o.client...)
	c.client = append(c.client,
		natsgo.MaxReconnects(-1),
		natsgo.IgnoreAuthErrorAbort(), // a credential may be mended while we run
		natsgo.CustomReconnectDelay(backoff),
		natsgo.ReconnectBufSize(-1), // what cannot be sent now is told to its caller, who may have left by then
		natsgo.PingInterval(5*time.Second),
		natsgo.MaxPingsOutstanding(2),
		natsgo.DisconnectErrHandler(func(_ *natsgo.Conn, err error) { c.lost(err) }),
		natsgo.ReconnectHandler(func(nc *natsgo.Conn) {
			c.away.Store(0)
			c.log.Info("nats: connected again", "server", nc.ConnectedUrlRedacted())
		}),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
			c.log.Warn("nats: the server reports an error", "error", err)
		}),
		natsgo.ClosedHandler(func(*natsgo.Conn) { close(c.closed) }))
	return c
}

// jetStream waits until there has been a connection, or the first try was
// refused for a reason that another one does not cure, or ctx ends.
func (c *connection) jetStream(ctx context.Context) (jetstream.JetStream, error) {
	for {
		c.start.Do(func() { c.dialing.Go(c.dial) })
		c.mu.Lock()
		js, err, tried := c.js, c.err, c.tried
		c.mu.Unlock()
		switch {
		case js != nil:
			return js, nil
		case refusedUs(err):
			return nil, c.unreachable(err)
		}
		select {
		case <-tried:
		case <-ctx.Done():
			if err == nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("%w (%w)", c.unreachable(err), context.Cause(ctx))
		case <-c.ctx.Done():
			return nil, natsgo.ErrConnectionClosed
		}
	}
}

// dial tries until it is connected.
func (c *connection) dial() {
	servers := make([]string, len(c.addrs))
	for i, addr := range c.addrs {
		servers[i] = "nats://" + addr
	}
	for try := 0; ; try++ {
		nc, err := natsgo.Connect(strings.Join(servers, ","), c.client...)
		var js jetstream.JetStream
		if err == nil {
			js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxPending),
				jetstream.WithPublishAsyncTimeout(ackTimeout), jetstream.WithDefaultTimeout(requestTimeout))
		}
		c.mu.Lock()
		c.nc, c.js, c.err = nc, js, err
		close(c.tried)
		c.tried = make(chan struct{})
		c.mu.Unlock()
		if err == nil || !pause(c.ctx, try) {
			return
		}
	}
}

func (c *connection) lost(err error) {
	c.away.CompareAndSwap(0, time.Now().UnixNano())
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	if c.ctx.Err() == nil {
		c.log.Warn("nats: connection lost, trying again", "servers", strings.Join(c.addrs, ","), "error", err)
	}
}

// close ends everything that waits, and returns when nats.go has let go.
func (c *connection) close() {
	c.cancel()
	c.start.Do(func() {}) // nobody dials any more
	c.dialing.Wait()
	c.mu.Lock()
	nc, js := c.nc, c.js
	c.mu.Unlock()
	if nc == nil {
		return
	}
	if js != nil {
		js.CleanupPublisher()
	}
	nc.Close()
	<-c.closed // by its own goroutine, right away
}

// unreachable words an error that keeps us from the servers.
func (c *connection) unreachable(err error) error {
	return fmt.Errorf("no answer from %s: %w%s", strings.Join(c.addrs, ", "), err, remedy(err))
}

// dialer ends its dials when the broker is closed.
type dialer struct{ ctx context.Context }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(d.ctx, network, address)
	if err != nil && d.ctx.Err() != nil {
		return nil, errors.Join(natsgo.ErrConnectionClosed, err)
	}
	return conn, err
}
