package micro_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

func TestAllFourKindsOfCallUnderBothNames(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	run(t, newService(reg, &server{id: "a"}))
	for _, name := range []string{"test", testService} {
		t.Run(name, func(t *testing.T) {
			ctx, c := deadline(t), dial(t, name, reg)
			if got, err := call(ctx, c); err != nil || got != "a" {
				t.Fatalf("unary: %q, %v", got, err)
			}
			out, err := c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{ResponseParameters: make([]*testpb.ResponseParameters, 3)})
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; ; n++ {
				if _, err := out.Recv(); errors.Is(err, io.EOF) && n == 3 {
					break
				} else if err != nil {
					t.Fatalf("server stream, message %d: %v", n, err)
				}
			}
			in, err := c.StreamingInputCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for range 4 {
				if err := in.Send(&testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: []byte("12345")}}); err != nil {
					t.Fatal(err)
				}
			}
			if sum, err := in.CloseAndRecv(); err != nil || sum.GetAggregatedPayloadSize() != 20 {
				t.Fatalf("client stream: %v, %v", sum, err)
			}
			echo(t, ctx, c)
		})
	}
}

// echo runs one bidirectional stream whose server sends each message back.
func echo(t *testing.T, ctx context.Context, c testpb.TestServiceClient) {
	t.Helper()
	duo, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two", "three"} {
		if err := duo.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: []byte(word)}}); err != nil {
			t.Fatal(err)
		}
		if got, err := duo.Recv(); err != nil || string(got.GetPayload().GetBody()) != word {
			t.Fatalf("bidirectional stream: %v, %v, want %s", got, err, word)
		}
	}
	if err := duo.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := duo.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("end of stream: %v", err)
	}
}

func TestCallsSpreadOverInstances(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	for _, id := range []string{"a", "b", "c"} {
		run(t, newService(reg, &server{id: id}))
	}
	ctx, c := deadline(t), dial(t, "test", reg, grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	seen := map[string]int{}
	for len(seen) < 3 { // until all three are connected
		id, err := call(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		seen[id]++
	}
	clear(seen)
	for range 60 {
		id, err := call(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		seen[id]++
	}
	for id, n := range seen {
		if n < 19 || n > 21 {
			t.Errorf("%s answered %d of 60 calls, want 20: %v", id, n, seen)
		}
	}
}

func TestHealthAndReflectionAreThere(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	svc := run(t, newService(reg, &server{id: "a"}))
	conn, err := grpc.NewClient(svc.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := deadline(t)
	for _, name := range []string{"", "test", testService, "micro.registry"} {
		res, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: name})
		if err != nil || res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", name, res.GetStatus(), err)
		}
	}
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil || !strings.Contains(res.String(), testService) {
		t.Fatalf("reflection lists %v, %v", res, err)
	}
}

func TestWithoutReflection(t *testing.T) {
	t.Parallel()
	svc := newService(memory(t), &server{id: "a"}, micro.WithReflection(false))
	run(t, svc)
	for name := range svc.GetServiceInfo() {
		if strings.Contains(name, "reflection") {
			t.Errorf("%s is served", name)
		}
	}
}

// A user's interceptors and dial options work beside ours, in each form that
// grpc has for them.
func TestUsersOwnGRPCOptions(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	var served, sent atomic.Int32
	count := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		served.Add(1)
		return handler(ctx, req)
	}
	send := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		sent.Add(1)
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	run(t, newService(reg, &server{id: "a"}, micro.WithServerOptions(grpc.UnaryInterceptor(count), grpc.ChainUnaryInterceptor(count), grpc.MaxRecvMsgSize(1<<10))))
	c := dial(t, "test", reg, grpc.WithUnaryInterceptor(send), grpc.WithChainUnaryInterceptor(send))
	if _, err := call(deadline(t), c); err != nil {
		t.Fatal(err)
	}
	if served.Load() != 2 || sent.Load() != 2 {
		t.Errorf("interceptors ran %d times on the server and %d on the client, want 2 and 2", served.Load(), sent.Load())
	}
	_, err := c.UnaryCall(deadline(t), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 2<<10)}})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message over the user's limit: %v", err)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	path := t.TempDir() + "/s.sock"
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false) // as a killed process leaves it
	_ = stale.Close()
	svc := run(t, newService(reg, &server{id: "a"}, micro.WithAddress("unix://"+path)))
	if got, err := call(deadline(t), dial(t, "test", reg)); err != nil || got != "a" {
		t.Fatalf("%q, %v", got, err)
	}
	second := newService(reg, &server{id: "b"}, micro.WithAddress("unix://"+path))
	if err := second.Run(deadline(t)); err == nil || !strings.Contains(err.Error(), "another process serves on "+path) {
		t.Errorf("a second service on the socket: %v", err)
	}
	if err := svc.stop(); err != nil {
		t.Error(err)
	}
}

// An instance is taken out of rotation, weighed and put back while it runs, and
// no connection is lost.
func TestUpdate(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	a := run(t, newService(reg, &server{id: "a"}))
	run(t, newService(reg, &server{id: "b"}))
	c := dial(t, "test", reg)
	answers := func(want ...string) {
		t.Helper()
		wait.Until(t, fmt.Sprintf("only %v to answer", want), func() bool {
			got := map[string]bool{}
			for range 10 {
				id, err := call(deadline(t), c)
				if err != nil {
					t.Fatal(err)
				}
				got[id] = true
			}
			return slices.Equal(slices.Sorted(maps.Keys(got)), want)
		})
	}
	answers("a", "b")
	drain := func(on bool) func(*resolver.Instance) {
		return func(i *resolver.Instance) { i.Draining = on }
	}
	for _, on := range []bool{true, false} {
		if err := a.Update(deadline(t), drain(on)); err != nil {
			t.Fatal(err)
		}
		if on {
			answers("b")
		} else {
			answers("a", "b")
		}
	}
	if err := a.Update(deadline(t), func(i *resolver.Instance) { i.Weight = 7 }); err != nil {
		t.Fatal(err)
	}
	if got := first(t, reg, testService); got[0].Weight != 7 {
		t.Errorf("weight %d under the name of the grpc service, want 7", got[0].Weight)
	}
	if err := a.Update(deadline(t), func(i *resolver.Instance) { i.ID = "c" }); err == nil || !strings.Contains(err.Error(), "keep both") {
		t.Errorf("another ID: %v", err)
	}
	if err := micro.New("lonely").Update(deadline(t), drain(true)); err == nil || !strings.Contains(err.Error(), "WithRegistry") {
		t.Errorf("without a registry: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newService(reg, &server{id: "d"}).Update(ctx, drain(true)); !errors.Is(err, context.Canceled) {
		t.Errorf("before Run: %v", err)
	}
}

// A user's own resolver for micro:///, with options of its own, takes the place
// of the default one.
func TestUsersOwnResolver(t *testing.T) {
	t.Parallel()
	reg, dir := memory(t), t.TempDir()
	run(t, newService(reg, &server{id: "a"}))
	c := dial(t, "test", reg, grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithSnapshots(dir))))
	if _, err := call(deadline(t), c); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "a snapshot", func() bool {
		files, err := os.ReadDir(dir)
		return err == nil && len(files) > 0
	})
}
