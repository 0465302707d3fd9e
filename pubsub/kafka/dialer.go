package kafka

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

// dialTimeout bounds connecting to one server, TLS and SASL included.
const dialTimeout = 3 * time.Second

// dialer dials, and can cut what it has dialed: kafka-go has calls that end with
// their connection and not with a context.
type dialer struct {
	mu     sync.Mutex // guards what follows
	closed bool
	conns  map[*trackedConn]struct{}
}

func newDialer() *dialer { return &dialer{conns: make(map[*trackedConn]struct{})} }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: dialTimeout}
	nc, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &trackedConn{Conn: nc, dialer: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = nc.Close()
		return nil, pubsub.ErrClosed
	}
	d.conns[c] = struct{}{}
	return c, nil
}

// close cuts the connections and lets no new ones be made.
func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for c := range d.conns {
		_ = c.Conn.Close()
	}
	clear(d.conns)
}

type trackedConn struct {
	net.Conn

	dialer *dialer
}

func (c *trackedConn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.conns, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}
