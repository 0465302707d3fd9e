package recovery_test

import (
	"context"
	"fmt"
	"log/slog"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/recovery"
)

func Example() {
	logger := slog.New(slog.DiscardHandler)
	server := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(recovery.UnaryServerInterceptor(logger)),
		grpc.ChainStreamInterceptor(recovery.StreamServerInterceptor(logger)),
	}

	handler := func(context.Context) error { panic("index out of luck") }
	client, stop := rpctest.Serve(handler, server, nil)
	defer stop()
	_, err := client.UnaryCall(context.Background(), &testpb.SimpleRequest{})
	fmt.Println(err)
	// Output:
	// rpc error: code = Internal desc = the handler of /grpc.testing.TestService/UnaryCall panicked; the server's log says where
}
