package recovery_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/recovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func withRecovery(logger *slog.Logger) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(recovery.UnaryServerInterceptor(logger)),
		grpc.ChainStreamInterceptor(recovery.StreamServerInterceptor(logger)),
	}
}

// panicky panics with value on the calls that ask for it.
func panicky(value any) rpctest.Handle {
	return func(ctx context.Context) error {
		if md, _ := metadata.FromIncomingContext(ctx); len(md.Get("panic")) > 0 {
			panic(value)
		}
		return nil
	}
}

// A panic must not do more than fail its own call, whatever the kind: kratos
// #3351 was a server that a stream's panic killed.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, kind := range rpctest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			logger, lines := rpctest.Log(slog.LevelInfo)
			client, stop := rpctest.Serve(panicky("a secret"), withRecovery(logger), nil)
			defer stop()

			for range 2 {
				err := kind.Call(metadata.AppendToOutgoingContext(t.Context(), "panic", "1"), client)
				if status.Code(err) != codes.Internal {
					t.Fatalf("a call whose handler panics: %v, want Internal", err)
				}
				for _, inside := range []string{"a secret", "goroutine", ".go:"} {
					if strings.Contains(err.Error(), inside) {
						t.Errorf("the client was told %q, which is the server's: %v", inside, err)
					}
				}
				line := <-lines
				if got := line["grpc.service"]; got != rpctest.Service {
					t.Errorf("grpc.service = %v, want %s", got, rpctest.Service)
				}
				if got := line["grpc.method"]; got != kind.Method {
					t.Errorf("grpc.method = %v, want %s", got, kind.Method)
				}
				if got := line["panic"]; got != "a secret" {
					t.Errorf("panic = %v, want its value", got)
				}
				if stack, _ := line["stack"].(string); !strings.Contains(stack, "recovery/recovery_test.go:") {
					t.Errorf("the stack does not show where the panic was:\n%s", stack)
				}
				if err := kind.Call(t.Context(), client); err != nil {
					t.Fatalf("the server did not go on serving: %v", err)
				}
			}
			if len(lines) != 0 {
				t.Errorf("a call without a panic was logged: %v", <-lines)
			}
		})
	}
}

func TestPanicValues(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		value any
		want  string
	}{
		"error":           {errors.New("broken"), "broken"},
		"nil":             {nil, "panic called with nil argument"},
		"not for JSON":    {complex(1, 2), "(1+2i)"},
		"one that panics": {bad{}, "%!v(PANIC=Error method: worse)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logger, lines := rpctest.Log(slog.LevelInfo)
			client, stop := rpctest.Serve(panicky(test.value), withRecovery(logger), nil)
			defer stop()
			err := rpctest.Kinds()[0].Call(metadata.AppendToOutgoingContext(t.Context(), "panic", "1"), client)
			if status.Code(err) != codes.Internal {
				t.Fatalf("%v, want Internal", err)
			}
			if got := (<-lines)["panic"]; got != test.want {
				t.Errorf("panic = %q, want %q", got, test.want)
			}
		})
	}
}

type bad struct{}

func (bad) Error() string { panic("worse") }

// An error is the handler's answer, and none of recovery's business.
func TestErrorPasses(t *testing.T) {
	t.Parallel()
	for _, kind := range rpctest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			logger, lines := rpctest.Log(slog.LevelDebug)
			want := status.Error(codes.NotFound, "no such thing")
			client, stop := rpctest.Serve(func(context.Context) error { return want }, withRecovery(logger), nil)
			defer stop()
			if err := kind.Call(t.Context(), client); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			if len(lines) != 0 {
				t.Errorf("logged: %v", <-lines)
			}
		})
	}
}

func TestNoAllocation(t *testing.T) {
	intercept := recovery.UnaryServerInterceptor(nil)
	handler := func(context.Context, any) (any, error) { return nil, nil }
	if n := testing.AllocsPerRun(100, func() { _, _ = intercept(t.Context(), nil, nil, handler) }); n != 0 {
		t.Errorf("a call without a panic allocates %v times", n)
	}
}

func BenchmarkRecovery(b *testing.B) {
	rpctest.Benchmark(b, withRecovery(slog.New(slog.DiscardHandler)), nil)
}
