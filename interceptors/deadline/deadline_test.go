package deadline_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors/deadline"
	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func server(limit time.Duration) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(deadline.UnaryServerInterceptor(limit)),
		grpc.ChainStreamInterceptor(deadline.StreamServerInterceptor()),
	}
}

func client(d time.Duration) []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(deadline.UnaryClientInterceptor(d))}
}

// What the handler sees of a deadline, for each side's setting and each kind.
func TestHandlersDeadline(t *testing.T) {
	t.Parallel()
	const none = time.Duration(0)
	for name, test := range map[string]struct {
		server        []grpc.ServerOption
		client        []grpc.DialOption
		own           time.Duration // of the caller
		unary, stream time.Duration // of the handler, or none
	}{
		"nothing set":               {server(none), client(none), none, none, none},
		"negative is none":          {server(-1), client(-1), none, none, none},
		"client's default":          {nil, client(5 * time.Second), none, 5 * time.Second, none},
		"caller's own is longer":    {nil, client(5 * time.Second), time.Minute, time.Minute, time.Minute},
		"caller's own is shorter":   {nil, client(5 * time.Second), time.Second, time.Second, time.Second},
		"server's limit":            {server(3 * time.Second), nil, none, 3 * time.Second, none},
		"longer than server's":      {server(3 * time.Second), nil, time.Minute, time.Minute, time.Minute},
		"client's before server's":  {server(3 * time.Second), client(5 * time.Second), none, 5 * time.Second, none},
		"server without any limits": {server(none), client(5 * time.Second), none, 5 * time.Second, none},
	} {
		for _, kind := range rpctest.Kinds() {
			t.Run(name+"/"+kind.Name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					want := test.unary
					if kind.Stream() {
						want = test.stream
					}
					got := none
					c, stop := rpctest.Serve(func(ctx context.Context) error {
						if d, ok := ctx.Deadline(); ok {
							got = time.Until(d)
						}
						return nil
					}, test.server, test.client)
					defer stop()
					ctx := t.Context()
					if test.own > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, test.own)
						defer cancel()
					}
					if err := kind.Call(ctx, c); err != nil {
						t.Fatal(err)
					}
					if got != want {
						t.Errorf("the handler has %v, want %v", got, want)
					}
				})
			})
		}
	}
}

// The time runs out: of the client, of the server's limit.
func TestTimeout(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		server []grpc.ServerOption
		client []grpc.DialOption
	}{
		"client": {nil, client(5 * time.Second)},
		"server": {server(5 * time.Second), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, stop := rpctest.Serve(func(ctx context.Context) error {
					<-ctx.Done()
					return ctx.Err()
				}, test.server, test.client)
				defer stop()
				start := time.Now()
				if err := rpctest.Kinds()[0].Call(t.Context(), c); status.Code(err) != codes.DeadlineExceeded {
					t.Errorf("%v, want DeadlineExceeded", err)
				}
				if d := time.Since(start); d != 5*time.Second {
					t.Errorf("after %v, want 5s", d)
				}
			})
		})
	}
}

// A call that arrives when its time is over costs the handler nothing.
func TestLate(t *testing.T) {
	t.Parallel()
	for _, kind := range rpctest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				answer := make(chan error, 1)
				queue := []grpc.ServerOption{ // what a busy server does to calls
					grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
						<-ctx.Done()
						resp, err := handler(ctx, req)
						answer <- err
						return resp, err
					}),
					grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
						<-stream.Context().Done()
						err := handler(srv, stream)
						answer <- err
						return err
					}),
				}
				c, stop := rpctest.Serve(func(context.Context) error {
					t.Error("the handler was called")
					return nil
				}, append(queue, server(0)...), nil)
				defer stop()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := kind.Call(ctx, c); status.Code(err) != codes.DeadlineExceeded {
					t.Errorf("the client got %v, want DeadlineExceeded", err)
				}
				// At the deadline the client also cancels: either may be first here.
				if err := <-answer; !strings.HasSuffix(status.Convert(err).Message(), " before its handler began: "+lateness[status.Code(err)]) {
					t.Errorf("the server answered %v", err)
				}
			})
		})
	}
}

var lateness = map[codes.Code]string{
	codes.DeadlineExceeded: "context deadline exceeded",
	codes.Canceled:         "context canceled",
}

// Without a deadline to set there is nothing to pay.
func TestNoAllocation(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	incoming, outgoing := deadline.UnaryServerInterceptor(time.Second), deadline.UnaryClientInterceptor(time.Second)
	handler := func(context.Context, any) (any, error) { return nil, nil }
	invoker := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	for side, call := range map[string]func(){
		"server": func() { _, _ = incoming(ctx, nil, nil, handler) },
		"client": func() { _ = outgoing(ctx, "/a.B/C", nil, nil, nil, invoker) },
	} {
		if n := testing.AllocsPerRun(100, call); n != 0 {
			t.Errorf("%s: %v allocations", side, n)
		}
	}
}

func BenchmarkDeadline(b *testing.B) { rpctest.Benchmark(b, server(0), client(0)) }

func BenchmarkDeadlineThatIsSet(b *testing.B) { rpctest.Benchmark(b, nil, client(time.Minute)) }
