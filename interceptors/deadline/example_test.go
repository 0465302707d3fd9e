package deadline_test

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors/deadline"
	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
)

func Example() {
	server := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(deadline.UnaryServerInterceptor(0)), // no limit of the server's own
		grpc.ChainStreamInterceptor(deadline.StreamServerInterceptor()),
	}
	client := []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(deadline.UnaryClientInterceptor(10 * time.Millisecond)),
	}

	hanging := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	c, stop := rpctest.Serve(hanging, server, client)
	defer stop()
	_, err := c.UnaryCall(context.Background(), &testpb.SimpleRequest{})
	fmt.Println(status.Code(err))
	// Output:
	// DeadlineExceeded
}
