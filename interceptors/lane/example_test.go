package lane_test

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/lane"
)

func Example() {
	handler := func(ctx context.Context) error {
		fmt.Println("handled in lane", lane.From(ctx))
		return nil // what it calls with ctx is in the lane, too
	}
	client, stop := rpctest.Serve(handler,
		[]grpc.ServerOption{grpc.ChainUnaryInterceptor(lane.UnaryServerInterceptor())},
		[]grpc.DialOption{grpc.WithChainUnaryInterceptor(lane.UnaryClientInterceptor())})
	defer stop()
	_, err := client.UnaryCall(lane.With(context.Background(), "new-checkout"), &testpb.SimpleRequest{})
	fmt.Println(err)
	// Output:
	// handled in lane new-checkout
	// <nil>
}
