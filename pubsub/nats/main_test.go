package nats_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/nats"
	"github.com/grpc-micro/micro/pubsub/pubsubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// startServer starts a server in this process, without a port unless o listens.
// The test stops it.
func startServer(t testing.TB, change ...func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	for _, f := range change {
		f(o)
	}
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return srv
}

// listen has a server listen on a free port.
func listen(o *server.Options) { o.DontListen, o.Host, o.Port = false, "127.0.0.1", server.RANDOM_PORT }

// newBroker returns a broker on a server in this process, that the test closes.
func newBroker(t testing.TB, srv *server.Server, opts ...nats.Option) *nats.Broker {
	t.Helper()
	b, err := nats.New([]string{"in-process"}, append([]nats.Option{
		nats.WithClientOptions(natsgo.InProcessServer(srv)), nats.WithAutoCreate(4), nats.WithLogger(quiet),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

// anywhere returns the servers that NATS_URL names (nats://h1:4222,h2:4222), or one
// in this process, and a topic of our own there.
func anywhere(t testing.TB) (addrs []string, topic string) {
	t.Helper()
	topic = fmt.Sprintf("%s-%08x", strings.ReplaceAll(t.Name(), "/", "-"), rand.Uint32())
	if url := os.Getenv("NATS_URL"); url != "" {
		return strings.Split(strings.TrimPrefix(url, "nats://"), ","), topic
	}
	return []string{startServer(t, listen).Addr().String()}, topic
}

// openBroker returns a broker of the servers at addrs, that the test closes.
func openBroker(t testing.TB, addrs []string, opts ...nats.Option) *nats.Broker {
	t.Helper()
	b, err := nats.New(addrs, append([]nats.Option{nats.WithAutoCreate(4), nats.WithLogger(quiet)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t testing.TB, b pubsub.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestConformance runs the suite of all brokers, on the real server that
// NATS_URL names (nats://h1:4222,h2:4222), or on one in this process.
func TestConformance(t *testing.T) {
	if url := os.Getenv("NATS_URL"); url != "" {
		pubsubtest.Run(t, func(t *testing.T) pubsub.Broker {
			sep := "?"
			if strings.Contains(url, "?") {
				sep = "&"
			}
			b, err := pubsub.Open(url + sep + "auto_create=4")
			if err != nil {
				t.Fatal(err)
			}
			return b
		})
		return
	}
	srv := startServer(t)
	pubsubtest.Run(t, func(t *testing.T) pubsub.Broker {
		b, err := nats.New([]string{"in-process"}, nats.WithClientOptions(natsgo.InProcessServer(srv)), nats.WithAutoCreate(4))
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}
