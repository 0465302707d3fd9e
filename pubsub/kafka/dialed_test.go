package kafka_test

import (
	"context"
	"net"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// dialed returns kafka-go's own client, and what ends its connections: those too on
// which there is no answer yet. With the Transport's CloseIdleConnections alone they
// would wait for a server that is slow, and be taken for a leak.
func dialed(addrs []string, metadataTTL time.Duration) (c *kafkago.Client, hangUp func()) {
	var mu sync.Mutex // guards what follows
	var conns []net.Conn
	ended := false
	transport := &kafkago.Transport{MetadataTTL: metadataTTL, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		nc, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		if ended {
			nc.Close()
			return nil, net.ErrClosed
		}
		conns = append(conns, nc)
		return nc, nil
	}}
	hangUp = func() {
		transport.CloseIdleConnections()
		mu.Lock()
		defer mu.Unlock()
		ended = true
		for _, nc := range conns {
			nc.Close()
		}
	}
	return &kafkago.Client{Addr: kafkago.TCP(addrs...), Transport: transport}, hangUp
}
