package interceptors_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors"
	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/logging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each link of the chain sees what the one inside it made of a panic.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, kind := range rpctest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			near, nearLines := rpctest.Log(slog.LevelDebug)
			far, farLines := rpctest.Log(slog.LevelDebug)
			panics := true
			c, stop := rpctest.Serve(func(context.Context) error {
				if panics {
					panic("boom")
				}
				return nil
			}, interceptors.Server(interceptors.WithLogger(far)), interceptors.Client(interceptors.WithLogger(near)))
			defer stop()

			if err := kind.Call(t.Context(), c); status.Code(err) != codes.Internal {
				t.Fatalf("%v, want Internal", err)
			}
			expect(t, farLines, rpctest.Line{"msg": "grpc: handler panicked", "panic": "boom", "grpc.method": kind.Method})
			expect(t, farLines, rpctest.Line{"msg": "grpc: call failed", "grpc.code": "Internal", "level": "ERROR", "grpc.method": kind.Method})
			expect(t, nearLines, rpctest.Line{"msg": "grpc: call failed", "grpc.code": "Internal", "level": "WARN", "grpc.method": kind.Method})

			panics = false
			if err := kind.Call(t.Context(), c); err != nil {
				t.Fatalf("the server did not go on serving: %v", err)
			}
			if n := len(nearLines) + len(farLines); n != 0 {
				t.Errorf("%d more lines", n)
			}
		})
	}
}

// A panic in the user's own interceptor is one more that recovery is outside of.
func TestPanicInUsersInterceptor(t *testing.T) {
	t.Parallel()
	logger, lines := rpctest.Log(slog.LevelDebug)
	server := append(interceptors.Server(interceptors.WithLogger(logger)),
		grpc.ChainUnaryInterceptor(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			panic("boom")
		}),
		grpc.ChainStreamInterceptor(func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error {
			panic("boom")
		}))
	c, stop := rpctest.Serve(func(context.Context) error { return nil }, server, nil)
	defer stop()
	for _, kind := range rpctest.Kinds() {
		if err := kind.Call(t.Context(), c); status.Code(err) != codes.Internal {
			t.Errorf("%s: %v, want Internal", kind.Name, err)
		}
		expect(t, lines, rpctest.Line{"msg": "grpc: handler panicked", "grpc.method": kind.Method})
		expect(t, lines, rpctest.Line{"msg": "grpc: call failed", "grpc.method": kind.Method})
	}
}

func TestWithTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	for name, test := range map[string]struct {
		server []grpc.ServerOption
		client []grpc.DialOption
		want   bool
	}{
		"none by default": {interceptors.Server(), interceptors.Client(), false},
		"of the client":   {interceptors.Server(), interceptors.Client(interceptors.WithTimeout(timeout)), true},
		"of the server":   {interceptors.Server(interceptors.WithTimeout(timeout)), interceptors.Client(), true},
	} {
		for _, kind := range rpctest.Kinds() {
			t.Run(name+"/"+kind.Name, func(t *testing.T) {
				t.Parallel()
				c, stop := rpctest.Serve(func(ctx context.Context) error {
					if _, has := ctx.Deadline(); has != (test.want && !kind.Stream()) {
						t.Errorf("the handler has a deadline: %v", has)
					}
					return nil
				}, test.server, test.client)
				defer stop()
				if err := kind.Call(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestWithLogging(t *testing.T) {
	t.Parallel()
	logger, lines := rpctest.Log(slog.LevelInfo)
	opts := []interceptors.Option{interceptors.WithLogger(logger), interceptors.WithLogging(logging.WithSuccesses(nil)), nil}
	c, stop := rpctest.Serve(func(context.Context) error { return nil }, interceptors.Server(opts...), interceptors.Client(opts...))
	defer stop()
	for _, kind := range rpctest.Kinds() {
		if err := kind.Call(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		expect(t, lines, rpctest.Line{"msg": "grpc: call done", "grpc.component": "server", "grpc.method": kind.Method})
		expect(t, lines, rpctest.Line{"msg": "grpc: call done", "grpc.component": "client", "grpc.method": kind.Method})
	}
}

// What goes outside of the chain sees what the other side does, in its order.
func TestOutside(t *testing.T) {
	t.Parallel()
	type seen struct {
		by   string
		code codes.Code
	}
	var near, far []seen
	pair := func(by string) []interceptors.Option {
		return []interceptors.Option{
			interceptors.WithServer(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
				resp, err := handler(ctx, req)
				far = append(far, seen{by, status.Code(err)})
				return resp, err
			}, func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
				err := handler(srv, stream)
				far = append(far, seen{by, status.Code(err)})
				return err
			}),
			interceptors.WithClient(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				err := invoke(ctx, method, req, reply, cc, opts...)
				near = append(near, seen{by, status.Code(err)})
				return err
			}, func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				stream, err := open(ctx, desc, cc, method, opts...)
				near = append(near, seen{by, status.Code(err)})
				return stream, err
			}),
		}
	}
	logger, _ := rpctest.Log(slog.LevelDebug)
	opts := slices.Concat(pair("outer"), pair("inner"), []interceptors.Option{
		interceptors.WithServer(nil, nil), interceptors.WithClient(nil, nil),
		interceptors.WithLogger(logger), interceptors.WithTimeout(time.Minute),
	})
	for _, kind := range rpctest.Kinds() {
		near, far = nil, nil
		c, stop := rpctest.Serve(func(context.Context) error { panic("boom") }, interceptors.Server(opts...), interceptors.Client(opts...))
		if err := kind.Call(t.Context(), c); status.Code(err) != codes.Internal {
			t.Errorf("%s: %v, want Internal", kind.Name, err)
		}
		stop()
		opened := codes.Internal
		if kind.Stream() {
			opened = codes.OK // the panic comes later
		}
		if want := []seen{{"inner", codes.Internal}, {"outer", codes.Internal}}; !slices.Equal(far, want) {
			t.Errorf("%s: the server's saw %v, want %v", kind.Name, far, want)
		}
		if want := []seen{{"inner", opened}, {"outer", opened}}; !slices.Equal(near, want) {
			t.Errorf("%s: the client's saw %v, want %v", kind.Name, near, want)
		}
	}
}

func expect(t *testing.T, lines <-chan rpctest.Line, want rpctest.Line) {
	t.Helper()
	line := <-lines
	for key, value := range want {
		if got := line[key]; got != value {
			t.Errorf("%s = %v, want %v", key, got, value)
		}
	}
	if stack, ok := line["stack"].(string); ok && !strings.Contains(stack, "interceptors_test.go:") {
		t.Errorf("the stack does not show where the panic was:\n%s", stack)
	}
}

func BenchmarkChain(b *testing.B) {
	logger := interceptors.WithLogger(slog.New(slog.DiscardHandler))
	rpctest.Benchmark(b, interceptors.Server(logger), interceptors.Client(logger))
}
