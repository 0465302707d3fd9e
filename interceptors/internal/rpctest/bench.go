package rpctest

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// Benchmark measures a whole unary call, and a message there and back on a
// stream: with no interceptor, with an empty one on both sides (which shows
// what grpc itself takes for having any), and with the options.
func Benchmark(b *testing.B, server []grpc.ServerOption, client []grpc.DialOption) {
	b.Helper()
	for _, with := range []struct {
		name   string
		server []grpc.ServerOption
		client []grpc.DialOption
	}{
		{name: "none"},
		{
			"empty",
			[]grpc.ServerOption{grpc.UnaryInterceptor(emptyServer)},
			[]grpc.DialOption{grpc.WithUnaryInterceptor(emptyClient)},
		},
		{"with", server, client},
	} {
		b.Run("unary/"+with.name, func(b *testing.B) { benchUnary(b, with.server, with.client) })
		b.Run("message/"+with.name, func(b *testing.B) { benchMessage(b, with.server, with.client) })
	}
}

func emptyServer(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return handler(ctx, req)
}

func emptyClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, opts...)
}

func nothing(context.Context) error { return nil }

func benchUnary(b *testing.B, server []grpc.ServerOption, client []grpc.DialOption) {
	c, stop := Serve(nothing, server, client)
	defer stop()
	req := &testpb.SimpleRequest{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.UnaryCall(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func benchMessage(b *testing.B, server []grpc.ServerOption, client []grpc.DialOption) {
	c, stop := Serve(nothing, server, client)
	defer stop()
	stream, err := c.FullDuplexCall(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	req := &testpb.StreamingOutputCallRequest{}
	b.ReportAllocs()
	for b.Loop() {
		if err := stream.Send(req); err != nil {
			b.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			b.Fatal(err)
		}
	}
}
