package logging_test

import (
	"context"
	"log/slog"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
)

// A wrapper round RecvMsg would never know of this end.
func TestStreamThatIsLeft(t *testing.T) {
	t.Parallel()
	logger, lines := rpctest.Log(slog.LevelDebug)
	serverLogger, serverLines := rpctest.Log(slog.LevelDebug)
	begun := make(chan struct{})
	handle := func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}
	c, stop := rpctest.Serve(handle, server(serverLogger), client(logger))
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&testpb.StreamingOutputCallRequest{}); err != nil {
		t.Fatal(err)
	}
	<-begun
	cancel()
	check(t, lines, rpctest.Line{"grpc.code": "Canceled", "level": "DEBUG", "peer": "bufconn"})
	check(t, serverLines, rpctest.Line{"grpc.code": "Canceled", "level": "DEBUG", "error": "context canceled"})
}

// A stream that cannot be opened is one failed call and one line, whoever saw
// to that.
func TestStreamThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	t.Run("by an interceptor inside", func(t *testing.T) {
		t.Parallel()
		logger, lines := rpctest.Log(slog.LevelDebug)
		refuse := func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, grpc.Streamer, ...grpc.CallOption) (grpc.ClientStream, error) {
			return nil, status.Error(codes.PermissionDenied, "no")
		}
		c, stop := rpctest.Serve(succeed, nil, append(client(logger), grpc.WithChainStreamInterceptor(refuse)))
		defer stop()
		if _, err := c.FullDuplexCall(t.Context()); status.Code(err) != codes.PermissionDenied {
			t.Fatal(err)
		}
		check(t, lines, rpctest.Line{"grpc.code": "PermissionDenied", "level": "INFO", "peer": nil})
	})
	t.Run("by grpc", func(t *testing.T) {
		t.Parallel()
		logger, lines := rpctest.Log(slog.LevelDebug)
		c, stop := rpctest.Serve(succeed, nil, client(logger))
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.FullDuplexCall(ctx); status.Code(err) != codes.Canceled {
			t.Fatal(err)
		}
		check(t, lines, rpctest.Line{"grpc.code": "Canceled", "level": "DEBUG", "peer": nil})
	})
}

// Only WithPeer pays for the address of unary calls.
func TestUnaryWithoutPeer(t *testing.T) {
	t.Parallel()
	logger, lines := rpctest.Log(slog.LevelDebug)
	c, stop := rpctest.Serve(func(context.Context) error { return status.Error(codes.Aborted, "no") }, nil, client(logger))
	defer stop()
	if _, err := c.UnaryCall(t.Context(), &testpb.SimpleRequest{}); status.Code(err) != codes.Aborted {
		t.Fatal(err)
	}
	check(t, lines, rpctest.Line{"grpc.code": "Aborted", "peer": nil, "target": "passthrough:///memory"})
}
