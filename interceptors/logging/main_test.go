package logging_test

import (
	"context"
	"log/slog"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/logging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func server(logger *slog.Logger, opts ...logging.Option) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(logging.UnaryServerInterceptor(logger, opts...)),
		grpc.ChainStreamInterceptor(logging.StreamServerInterceptor(logger, opts...)),
	}
}

func client(logger *slog.Logger, opts ...logging.Option) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(logging.UnaryClientInterceptor(logger, opts...)),
		grpc.WithChainStreamInterceptor(logging.StreamClientInterceptor(logger, opts...)),
	}
}

// check compares what is said of the line, and that nothing else was logged.
func check(t *testing.T, lines <-chan rpctest.Line, want rpctest.Line) {
	t.Helper()
	line := <-lines
	for key, value := range want {
		if line[key] != value {
			t.Errorf("%s = %v, want %v", key, line[key], value)
		}
	}
	if d, _ := line["duration"].(float64); d <= 0 {
		t.Errorf("duration = %v", line["duration"])
	}
	if len(lines) > 0 {
		t.Errorf("a second line: %v", <-lines)
	}
}

func succeed(context.Context) error { return nil }

func BenchmarkLogging(b *testing.B) {
	logger := slog.New(slog.DiscardHandler)
	rpctest.Benchmark(b, server(logger), client(logger))
}

func BenchmarkLoggingWithPeer(b *testing.B) {
	logger := slog.New(slog.DiscardHandler)
	rpctest.Benchmark(b, nil, client(logger, logging.WithPeer()))
}
