package micro_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/resolver"
)

const testService = "grpc.testing.TestService"

// patience bounds every wait of these tests; only a failure takes so long.
const patience = time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers with its id, on all four kinds of call.
type server struct {
	testpb.UnimplementedTestServiceServer

	id    string
	unary func(context.Context) error // nil: no more than answer
	duo   func(testpb.TestService_FullDuplexCallServer) error
}

func (s *server) body() *testpb.Payload { return &testpb.Payload{Body: []byte(s.id)} }

func (s *server) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if s.unary != nil {
		if err := s.unary(ctx); err != nil {
			return nil, err
		}
	}
	return &testpb.SimpleResponse{Payload: s.body()}, nil
}

func (s *server) StreamingOutputCall(req *testpb.StreamingOutputCallRequest, stream testpb.TestService_StreamingOutputCallServer) error {
	for range req.GetResponseParameters() {
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: s.body()}); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) StreamingInputCall(stream testpb.TestService_StreamingInputCallServer) error {
	var size int32
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: size})
		}
		if err != nil {
			return err
		}
		size += int32(len(req.GetPayload().GetBody()))
	}
}

func (s *server) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	if s.duo != nil {
		return s.duo(stream)
	}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

// running is a service whose Run is under way.
type running struct {
	*micro.Service

	stop func() error // ends Run's context and returns what Run returned
	done <-chan error
}

// run runs svc until the test ends, and returns once it can be found.
func run(t testing.TB, svc *micro.Service) *running {
	t.Helper()
	r := start(t, svc)
	select {
	case <-svc.Ready():
	case err := <-r.done:
		t.Fatalf("Run returned before it was ready: %v", err)
	case <-time.After(patience):
		t.Fatal("not ready in time")
	}
	return r
}

// start runs svc until the test ends.
func start(t testing.TB, svc *micro.Service) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	ended := make(chan struct{})
	var err error
	go func() {
		err = svc.Run(ctx)
		done <- err
		close(ended)
	}()
	r := &running{Service: svc, done: done, stop: func() error {
		cancel()
		<-ended
		return err
	}}
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// newService makes a service "test" with srv registered, found in reg.
func newService(reg resolver.Registrar, srv *server, opts ...micro.Option) *micro.Service {
	svc := micro.New("test", serviceOptions(reg, srv, opts)...)
	testpb.RegisterTestServiceServer(svc, srv)
	return svc
}

func newFunction(reg resolver.Registrar, srv *server, opts ...micro.Option) *micro.Service {
	fn := micro.NewFunction("test", serviceOptions(reg, srv, opts)...)
	testpb.RegisterTestServiceServer(fn, srv)
	return fn
}

func serviceOptions(reg resolver.Registrar, srv *server, opts []micro.Option) []micro.Option {
	return append([]micro.Option{
		micro.WithAddress("127.0.0.1:0"),
		micro.WithRegistry(reg),
		micro.WithID(srv.id),
		micro.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)
}

// dial connects to name until the test ends.
func dial(t testing.TB, name string, d resolver.Discovery, opts ...grpc.DialOption) testpb.TestServiceClient {
	t.Helper()
	conn, err := micro.NewClient(name, d, append([]grpc.DialOption{micro.Insecure()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return testpb.NewTestServiceClient(conn)
}

func memory(t testing.TB) *resolver.Memory {
	t.Helper()
	reg := resolver.NewMemory()
	t.Cleanup(func() { _ = reg.Close() })
	return reg
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// call makes a unary call and returns who answered.
func call(ctx context.Context, c testpb.TestServiceClient, opts ...grpc.CallOption) (string, error) {
	res, err := c.UnaryCall(ctx, &testpb.SimpleRequest{}, opts...)
	return string(res.GetPayload().GetBody()), err
}

// flaky is a registry that can be away.
type flaky struct {
	*resolver.Memory

	away, tried atomic.Bool
}

func (f *flaky) Register(ctx context.Context, insts ...*resolver.Instance) (resolver.Registration, error) {
	defer f.tried.Store(true)
	if f.away.Load() {
		return nil, errors.New("the registry is away")
	}
	return f.Memory.Register(ctx, insts...)
}
