package codec_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/grpc-micro/micro/codec"
)

// server answers with what it was sent, and remembers the content types.
type server struct {
	grpc_testing.UnimplementedTestServiceServer

	mu    sync.Mutex
	types []string
}

func (s *server) UnaryCall(ctx context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	s.types = append(s.types, md.Get("content-type")...)
	s.mu.Unlock()
	return &grpc_testing.SimpleResponse{Payload: in.GetPayload()}, nil
}

func (s *server) FullDuplexCall(stream grpc_testing.TestService_FullDuplexCallServer) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
}

func dial(t *testing.T, srv *server) grpc_testing.TestServiceClient {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	s := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(s, srv)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///test",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return grpc_testing.NewTestServiceClient(conn)
}

// One connection, and the encoding chosen call by call.
func TestCallByCall(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	srv := &server{}
	client := dial(t, srv)
	for _, size := range []int{0, 10, 5_000, 100_000, 2_000_000} { // within a pooled buffer, and outgrowing it
		body := bytes.Repeat([]byte("x"), size)
		for _, opts := range [][]grpc.CallOption{nil, {grpc.CallContentSubtype(codec.JSON.Name())}} {
			reply, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: body}}, opts...)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(reply.GetPayload().GetBody(), body) {
				t.Errorf("%d bytes came back as %d", size, len(reply.GetPayload().GetBody()))
			}
		}
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for i, got := range srv.types {
		if want := []string{"application/grpc", "application/grpc+json"}[i%2]; got != want {
			t.Errorf("call %d came as %s, want %s", i, got, want)
		}
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stream, err := dial(t, &server{}).FullDuplexCall(ctx, grpc.CallContentSubtype("json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		body := bytes.Repeat([]byte{byte(i)}, i*100)
		if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: body}}); err != nil {
			t.Fatal(err)
		}
		reply, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(reply.GetPayload().GetBody(), body) {
			t.Fatalf("message %d came back changed", i)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream did not end")
	}
}

func TestEncodeError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := dial(t, &server{}).UnaryCall(ctx, &grpc_testing.SimpleRequest{
		ResponseStatus: &grpc_testing.EchoStatus{Message: "\xff"},
	}, grpc.CallContentSubtype("json"))
	if err == nil {
		t.Fatal("a message that JSON cannot say was sent")
	}
}

// A pooled buffer goes back to the pool once, whatever happens.
func TestBuffersGoBack(t *testing.T) {
	t.Parallel()
	c := encoding.GetCodecV2("json")
	for _, size := range []int{0, 100, 5_000} {
		data, err := c.Marshal(&grpc_testing.Payload{Body: make([]byte, size)})
		if err != nil {
			t.Fatal(err)
		}
		var out grpc_testing.Payload
		if err := c.Unmarshal(data, &out); err != nil {
			t.Fatal(err)
		}
		data.Free() // grpc's buffers panic when freed twice
		if len(out.GetBody()) != size {
			t.Errorf("%d bytes came back as %d", size, len(out.GetBody()))
		}
	}
	split := mem.BufferSlice{mem.SliceBuffer(`{"bo`), mem.SliceBuffer(`dy":"eA=="}`)}
	var out grpc_testing.Payload
	if err := c.Unmarshal(split, &out); err != nil || string(out.GetBody()) != "x" {
		t.Errorf("split input: %v, %v", &out, err)
	}
}
