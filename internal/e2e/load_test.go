package e2e_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// retrying is a service config for calls that may be sent again.
const retrying = `{
	"loadBalancingConfig": [{"micro_round_robin": {}}],
	"healthCheckConfig": {"serviceName": ""},
	"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.02s", "maxBackoff": "0.5s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]
}`

// load is what clients do all the while, each with a registry and a connection
// of its own.
type load struct {
	calls, failed, unaddressed atomic.Int64
	local                      atomic.Int64 // calls over a local socket

	callers int
	timeout time.Duration // of a call
	calm    atomic.Bool   // nothing is wrong any more: no call that begins may fail
	stop    func()
}

const (
	clients        = 3
	callersAClient = 16
)

// startLoad makes unary calls and, if streams is set, as many streams.
func startLoad(t *testing.T, url string, streams bool, timeout time.Duration, opts ...grpc.DialOption) *load {
	t.Helper()
	l := &load{callers: clients * callersAClient, timeout: timeout}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range clients {
		reg, err := resolver.Open(url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = reg.Close() })
		conn, err := micro.NewClient("test", reg, append([]grpc.DialOption{micro.Insecure()}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		c := testpb.NewTestServiceClient(conn)
		for n := range callersAClient {
			wg.Go(func() {
				for ctx.Err() == nil {
					calm := l.calm.Load()
					err := l.call(c, streams && n%2 == 1)
					if err != nil && calm {
						t.Errorf("failed, and nothing is wrong any more: %v", err)
					}
					l.note(t, err)
				}
			})
		}
	}
	l.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(l.stop)
	return l
}

// note counts a call, and what failed for want of an address apart.
func (l *load) note(t *testing.T, err error) {
	l.calls.Add(1)
	if err == nil {
		return
	}
	if l.failed.Add(1) <= 5 {
		t.Logf("failed: %v", err)
	}
	for _, text := range []string{"no instances of", "none of", "no answer about", "watch test"} {
		if strings.Contains(err.Error(), text) {
			l.unaddressed.Add(1)
			t.Logf("failed for want of an address: %v", err)
			return
		}
	}
}

// call makes a unary call, or holds a conversation on a stream.
func (l *load) call(c testpb.TestServiceClient, stream bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	var server peer.Peer
	defer func() {
		if server.Addr != nil && server.Addr.Network() == "unix" {
			l.local.Add(1)
		}
	}()
	if !stream {
		_, err := c.UnaryCall(ctx, &testpb.SimpleRequest{}, grpc.Peer(&server))
		return err
	}
	s, err := c.FullDuplexCall(ctx, grpc.Peer(&server))
	if err != nil {
		return err
	}
	for range 3 {
		if err := s.Send(&testpb.StreamingOutputCallRequest{}); err != nil {
			_, err = s.Recv() // which has the reason
			return err
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// more waits until so many further calls were made.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	at := l.calls.Load()
	wait.Until(t, "more calls", func() bool { return l.calls.Load() >= at+n })
}
