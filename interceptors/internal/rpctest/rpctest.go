// Package rpctest serves and makes one call of each of gRPC's four kinds, for
// the tests of the interceptors.
package rpctest

import (
	"context"
	"errors"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/test/bufconn"
)

// Service is the gRPC service that is called.
const Service = "grpc.testing.TestService"

// Kind is one of the four kinds of RPC.
type Kind struct {
	Name   string
	Method string // without the service
	Call   func(context.Context, testpb.TestServiceClient) error
}

// Stream reports whether the kind is one of the streams.
func (k Kind) Stream() bool { return k.Name != "unary" }

// Kinds has a call of each kind. Each exchanges messages before the handler's
// middle, where [Handle] runs, and after it.
func Kinds() []Kind {
	return []Kind{
		{"unary", "UnaryCall", unary},
		{"client stream", "StreamingInputCall", clientStream},
		{"server stream", "StreamingOutputCall", serverStream},
		{"bidi", "FullDuplexCall", bidi},
	}
}

// Handle runs in the middle of each handler, which returns its error.
type Handle func(context.Context) error

// Serve runs handle behind a grpc server in memory. The client makes real
// calls to it until stop is called.
func Serve(handle Handle, server []grpc.ServerOption, client []grpc.DialOption) (testpb.TestServiceClient, func()) {
	conn, stop := Conn(handle, server, client)
	return testpb.NewTestServiceClient(conn), stop
}

// Conn is Serve for who needs the connection.
func Conn(handle Handle, server []grpc.ServerOption, client []grpc.DialOption) (*grpc.ClientConn, func()) {
	lis := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(append([]grpc.ServerOption{grpc.WaitForHandlers(true)}, server...)...)
	testpb.RegisterTestServiceServer(srv, &service{handle: handle})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	conn, err := grpc.NewClient("passthrough:///memory", append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
	}, client...)...)
	if err != nil {
		panic(err)
	}
	return conn, func() {
		_ = conn.Close()
		srv.Stop()
		<-served
	}
}

type service struct {
	testpb.UnimplementedTestServiceServer

	handle Handle
}

func (s *service) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if err := s.handle(ctx); err != nil {
		return nil, err
	}
	return &testpb.SimpleResponse{}, nil
}

func (s *service) StreamingInputCall(stream grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	if err := s.handle(stream.Context()); err != nil {
		return err
	}
	for {
		switch _, err := stream.Recv(); {
		case errors.Is(err, io.EOF):
			return stream.SendAndClose(&testpb.StreamingInputCallResponse{})
		case err != nil:
			return err
		}
	}
}

func (s *service) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
		return err
	}
	if err := s.handle(stream.Context()); err != nil {
		return err
	}
	return stream.Send(&testpb.StreamingOutputCallResponse{})
}

func (s *service) FullDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	for first := true; ; first = false {
		switch _, err := stream.Recv(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
		if !first {
			continue
		}
		if err := s.handle(stream.Context()); err != nil {
			return err
		}
	}
}

func unary(ctx context.Context, c testpb.TestServiceClient) error {
	_, err := c.UnaryCall(ctx, &testpb.SimpleRequest{})
	return err
}

func clientStream(ctx context.Context, c testpb.TestServiceClient) error {
	stream, err := c.StreamingInputCall(ctx)
	if err != nil {
		return err
	}
	for range 2 {
		if stream.Send(&testpb.StreamingInputCallRequest{}) != nil {
			break // CloseAndRecv has the reason
		}
	}
	_, err = stream.CloseAndRecv()
	return err
}

func serverStream(ctx context.Context, c testpb.TestServiceClient) error {
	stream, err := c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
	if err != nil {
		return err
	}
	for err == nil {
		_, err = stream.Recv()
	}
	return ended(err)
}

func bidi(ctx context.Context, c testpb.TestServiceClient) error {
	stream, err := c.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for range 2 {
		if stream.Send(&testpb.StreamingOutputCallRequest{}) != nil {
			break // Recv has the reason
		}
		if _, err := stream.Recv(); err != nil {
			return ended(err)
		}
	}
	_ = stream.CloseSend() // it never fails
	for err == nil {
		_, err = stream.Recv()
	}
	return ended(err)
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
