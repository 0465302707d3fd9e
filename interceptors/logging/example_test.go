package logging_test

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/logging"
)

func Example() {
	// A line for each call that fails, and for each that succeeds but health checks.
	notHealth := logging.WithSuccesses(func(method string) bool { return !strings.HasPrefix(method, "/grpc.health.") })
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTimes}))
	server := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(logging.UnaryServerInterceptor(logger, notHealth)),
		grpc.ChainStreamInterceptor(logging.StreamServerInterceptor(logger, notHealth)),
	}

	answers := make(chan error, 2)
	client, stop := rpctest.Serve(func(context.Context) error { return <-answers }, server, nil)
	defer stop()
	for _, answer := range []error{nil, status.Error(codes.NotFound, "no such user")} {
		answers <- answer
		_, _ = client.UnaryCall(context.Background(), &testpb.SimpleRequest{})
	}
	// Output:
	// level=INFO msg="grpc: call done" grpc.component=server grpc.service=grpc.testing.TestService grpc.method=UnaryCall grpc.code=OK peer=bufconn
	// level=INFO msg="grpc: call failed" grpc.component=server grpc.service=grpc.testing.TestService grpc.method=UnaryCall grpc.code=NotFound peer=bufconn error="rpc error: code = NotFound desc = no such user"
}

// withoutTimes leaves out what differs from run to run.
func withoutTimes(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == "duration" {
		return slog.Attr{}
	}
	return a
}
