package interceptors_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/interceptors"
	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
)

func Example() {
	logger := interceptors.WithLogger(slog.New(slog.DiscardHandler))
	server := interceptors.Server(logger)                                        // for grpc.NewServer or micro.WithServerOptions
	client := interceptors.Client(logger, interceptors.WithTimeout(time.Second)) // for grpc.NewClient or micro.NewClient

	handler := func(ctx context.Context) error {
		_, bounded := ctx.Deadline()
		fmt.Println("the handler has a deadline:", bounded)
		panic("and a bug")
	}
	c, stop := rpctest.Serve(handler, server, client)
	defer stop()
	_, err := c.UnaryCall(context.Background(), &testpb.SimpleRequest{})
	fmt.Println(err)
	// Output:
	// the handler has a deadline: true
	// rpc error: code = Internal desc = the handler of /grpc.testing.TestService/UnaryCall panicked; the server's log says where
}
