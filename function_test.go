package micro_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/resolver"
)

func TestFunctionServesOneCall(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	fn := run(t, newFunction(reg, &server{id: "f"}))
	conn, err := grpc.NewClient(fn.Addr().String(), micro.Insecure())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 { // does not use it up
		if _, err := grpc_health_v1.NewHealthClient(conn).Check(deadline(t), &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := call(deadline(t), testpb.NewTestServiceClient(conn)); err != nil || got != "f" {
		t.Fatalf("%q, %v", got, err)
	}
	select {
	case err := <-fn.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("Run did not return after the call")
	}
}

// What a plain client sees of a busy function: Unavailable, the trailer, no
// headers, for each kind of call.
func TestBusyFunctionRefuses(t *testing.T) {
	t.Parallel()
	fn := busyFunction(t, memory(t), "f")
	conn, err := grpc.NewClient(fn.Addr().String(), micro.Insecure())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := testpb.NewTestServiceClient(conn)
	var header, trailer metadata.MD
	_, err = call(deadline(t), c, grpc.Header(&header), grpc.Trailer(&trailer))
	if status.Code(err) != codes.Unavailable || len(header) != 0 || trailer.Get("micro-refused")[0] != "1" {
		t.Errorf("unary: %v, header %v, trailer %v", err, header, trailer)
	}
	duo, err := c.FullDuplexCall(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = duo.Recv()
	if status.Code(err) != codes.Unavailable || duo.Trailer().Get("micro-refused")[0] != "1" {
		t.Errorf("stream: %v, trailer %v", err, duo.Trailer())
	}
}

// busyFunction runs a function that has its one call, until the test ends.
func busyFunction(t *testing.T, reg *resolver.Memory, id string) *running {
	t.Helper()
	began := make(chan struct{})
	fn := newFunction(reg, &server{id: id, unary: func(ctx context.Context) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}}, micro.WithShutdownTimeout(time.Second))
	r := run(t, fn)
	conn, err := grpc.NewClient(r.Addr().String(), micro.Insecure())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = call(ctx, testpb.NewTestServiceClient(conn))
	}()
	t.Cleanup(func() { cancel(); <-over; _ = conn.Close() })
	<-began
	return r
}

// A connection of NewClient to two busy functions and a free one, all of which
// it believes to be free: whatever the kind of call, it ends at the free one.
func TestRefusedCallsGoElsewhere(t *testing.T) {
	t.Parallel()
	for name, try := range map[string]func(*testing.T, testpb.TestServiceClient){
		"unary": func(t *testing.T, c testpb.TestServiceClient) {
			if got, err := call(deadline(t), c); err != nil || got != "free" {
				t.Errorf("%q, %v", got, err)
			}
		},
		"server stream": func(t *testing.T, c testpb.TestServiceClient) {
			out, err := c.StreamingOutputCall(deadline(t), &testpb.StreamingOutputCallRequest{ResponseParameters: make([]*testpb.ResponseParameters, 1)})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := out.Recv(); err != nil || string(got.GetPayload().GetBody()) != "free" {
				t.Errorf("%v, %v", got, err)
			}
			if _, err := out.Recv(); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		},
		"client stream": func(t *testing.T, c testpb.TestServiceClient) {
			in, err := c.StreamingInputCall(deadline(t))
			if err != nil {
				t.Fatal(err)
			}
			const n = 200
			for range n { // long enough for the refusal to arrive while sending
				if err := in.Send(&testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: make([]byte, 10)}}); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := in.CloseAndRecv(); err != nil || got.GetAggregatedPayloadSize() != 10*n {
				t.Errorf("%v, %v", got, err)
			}
		},
		"bidirectional": func(t *testing.T, c testpb.TestServiceClient) { echo(t, deadline(t), c) },
		"header first": func(t *testing.T, c testpb.TestServiceClient) {
			duo, err := c.FullDuplexCall(deadline(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := duo.Send(&testpb.StreamingOutputCallRequest{}); err != nil {
				t.Fatal(err)
			}
			if md, err := duo.Header(); md == nil || err != nil {
				t.Errorf("header: %v, %v", md, err)
			}
			if _, err := duo.Recv(); err != nil {
				t.Error(err)
			}
			_ = duo.CloseSend()
			if _, err := duo.Recv(); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		},
		"nobody free, and the caller sees the refusal": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := memory(t)
			addrs := map[string]string{}
			for _, id := range []string{"busy-1", "busy-2"} {
				addrs[id] = busyFunction(t, memory(t), id).Addr().String()
			}
			if try != nil {
				addrs["free"] = run(t, newFunction(memory(t), &server{id: "free"})).Addr().String()
			}
			for id, addr := range addrs { // the view of a client that has seen nothing drain
				if _, err := reg.Register(deadline(t), &resolver.Instance{ID: id, Service: "test", Addrs: []string{addr}}); err != nil {
					t.Fatal(err)
				}
			}
			c := dial(t, "test", reg, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"micro_round_robin":{}}]}`)) // no health checks
			if try == nil {
				if _, err := call(deadline(t), c); status.Code(err) != codes.Unavailable {
					t.Errorf("%v, want Unavailable", err)
				}
				return
			}
			try(t, c)
		})
	}
}

// Functions that come back as soon as they have ended, and more callers than
// functions: everyone is served.
func TestFunctionsUnderLoad(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	ctx, cancel := context.WithCancel(t.Context())
	var functions, callers sync.WaitGroup
	var served atomic.Int64
	for n := range 8 {
		functions.Go(func() {
			for gen := 0; ctx.Err() == nil; gen++ {
				if err := newFunction(reg, &server{id: fmt.Sprintf("f%d-%d", n, gen)}).Run(ctx); err != nil {
					t.Errorf("function: %v", err)
				}
			}
		})
	}
	for range 4 {
		c := dial(t, "test", reg, grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
		callers.Go(func() {
			for range 50 {
				if _, err := call(deadline(t), c); err != nil {
					t.Errorf("call: %v", err)
				}
				served.Add(1)
			}
		})
	}
	callers.Wait()
	cancel()
	functions.Wait()
	t.Logf("%d calls served", served.Load())
}
