package nats_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/nats"
)

// startCluster starts n servers that know each other.
func startCluster(t *testing.T, n int) []*server.Server {
	t.Helper()
	var routes []*url.URL
	var listeners []net.Listener
	for range n {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, lis)
		routes = append(routes, &url.URL{Scheme: "nats", Host: lis.Addr().String()})
	}
	servers := make([]*server.Server, n)
	for i := range servers {
		port := listeners[i].Addr().(*net.TCPAddr).Port
		_ = listeners[i].Close()
		servers[i] = startServer(t, listen, func(o *server.Options) {
			o.ServerName = fmt.Sprint("s", i)
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}
			o.Routes = routes
		})
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		peers := 0
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				peers = len(s.JetStreamClusterPeers())
			}
		}
		if peers == n {
			return servers
		}
		if time.Now().After(deadline) {
			t.Fatal("the cluster does not form")
		}
	}
}

// The server that leads a replicated topic stops, for good, while messages are
// published and handled: none is lost, none is stored twice, each key stays in
// order.
func TestLeaderLoss(t *testing.T) {
	t.Parallel()
	const keys, each = 8, 100
	servers := startCluster(t, 3)
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.Addr().String())
	}
	b, err := nats.New(addrs, nats.WithAutoCreate(4), nats.WithReplicas(3), nats.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	h := newHandled()
	for range 2 {
		subscribe(t, b, "t", "g", h.handle)
	}
	var publishing sync.WaitGroup
	var published atomic.Int64
	for key := range keys {
		publishing.Go(func() {
			for i := range each {
				if err := b.Publish(t.Context(), &pubsub.Message{Topic: "t", Key: fmt.Append(nil, "k", key), Value: fmt.Append(nil, i)}); err != nil {
					t.Errorf("Publish: %v", err)
					return
				}
				published.Add(1)
			}
		})
	}
	for published.Load() < keys*each/3 {
		select {
		case <-h.changed:
		case <-time.After(5 * time.Millisecond):
		}
	}
	for i, s := range servers {
		if s.JetStreamIsStreamLeader("$G", "t") {
			s.Shutdown()
			s.WaitForShutdown()
			servers = append(servers[:i:i], servers[i+1:]...)
			break
		}
	}
	if len(servers) != 2 {
		t.Fatal("the topic has no leader")
	}
	publishing.Wait()
	repeats := h.await(t, keys, each)
	js := client(t, servers[0])
	for deadline := time.Now().Add(30 * time.Second); ; { // a request while there is no leader has no answer
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		stored, err := js.Stream(ctx, "t")
		cancel()
		if err == nil {
			if n := stored.CachedInfo().State.Msgs; n != keys*each {
				t.Errorf("%d messages are stored, %d were published", n, keys*each)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d were handled again", repeats, keys*each)
}
