package lane_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/lane"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func context20s(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// node is one instance of a service. A call to it goes on to next,
// and comes back with the way that it took.
type node struct {
	testpb.UnimplementedTestServiceServer

	name string
	next testpb.TestServiceClient
}

func (n *node) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	way := fmt.Sprintf("%s(%s)", n.name, lane.From(ctx))
	if n.next != nil {
		reply, err := n.next.UnaryCall(ctx, req)
		if err != nil {
			return nil, err
		}
		way += " " + reply.GetUsername()
	}
	return &testpb.SimpleResponse{Username: way}, nil
}

// StreamingOutputCall goes on as a stream, in the same way.
func (n *node) StreamingOutputCall(req *testpb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	way := fmt.Sprintf("%s(%s)", n.name, lane.From(stream.Context()))
	if n.next != nil {
		further, err := n.next.StreamingOutputCall(stream.Context(), req)
		if err != nil {
			return err
		}
		reply, err := further.Recv()
		if err != nil {
			return err
		}
		way += " " + string(reply.GetPayload().GetBody())
	}
	return stream.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: []byte(way)}})
}

// start serves a node and registers it, in a lane or in none.
func start(t testing.TB, reg *resolver.Memory, service, in string, next testpb.TestServiceClient) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	name := service + "-" + in
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(lane.UnaryServerInterceptor()), grpc.ChainStreamInterceptor(lane.StreamServerInterceptor()))
	testpb.RegisterTestServiceServer(srv, &node{name: name, next: next})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(lis)
	}()
	t.Cleanup(func() {
		srv.Stop()
		<-served
	})
	inst := &resolver.Instance{ID: name, Service: service, Addrs: []string{lis.Addr().String()}}
	if in != "" {
		inst.Labels = map[string]string{lane.Label: in}
	}
	if _, err := reg.Register(context20s(t), inst); err != nil {
		t.Fatal(err)
	}
}

func connect(t testing.TB, reg *resolver.Memory, service string, opts ...lane.Option) (testpb.TestServiceClient, *grpc.ClientConn) {
	t.Helper()
	conn, err := grpc.NewClient("micro:///"+service, grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithLinger(0))),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"micro_round_robin":{}}]}`),
		grpc.WithChainUnaryInterceptor(lane.UnaryClientInterceptor(opts...)),
		grpc.WithChainStreamInterceptor(lane.StreamClientInterceptor(opts...)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return testpb.NewTestServiceClient(conn), conn
}

// Three services in a row. Lane x has another instance of the last, and lane y
// of the first and the last: a call finds them, two hops from who chose the
// lane, and stable ones in between; with unary calls and with streams.
func TestLanesGoFromCallToCall(t *testing.T) {
	t.Parallel()
	reg := resolver.NewMemory()
	t.Cleanup(func() { _ = reg.Close() })
	for _, in := range []string{"", "x", "y"} {
		start(t, reg, "last", in, nil)
	}
	last, _ := connect(t, reg, "last")
	start(t, reg, "middle", "", last)
	middle, _ := connect(t, reg, "middle")
	start(t, reg, "first", "stable", middle)
	start(t, reg, "first", "y", middle)
	first, _ := connect(t, reg, "first")
	for name, want := range map[string]string{
		"":         "first-stable() middle-() last-()",
		"x":        "first-stable(x) middle-(x) last-x(x)",
		"y":        "first-y(y) middle-(y) last-y(y)",
		"z":        "first-stable(z) middle-(z) last-(z)",
		"stable":   "first-stable() middle-() last-()",
		"not one!": "first-stable() middle-() last-()",
	} {
		for range 4 { // round robin would go elsewhere by now
			ctx := lane.With(context20s(t), name)
			reply, err := first.UnaryCall(ctx, &testpb.SimpleRequest{})
			if got := reply.GetUsername(); err != nil || got != want {
				t.Errorf("%q: unary went %s, want %s: %v", name, got, want, err)
			}
			stream, err := first.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
			if err != nil {
				t.Fatal(err)
			}
			part, err := stream.Recv()
			if got := string(part.GetPayload().GetBody()); err != nil || got != want {
				t.Errorf("%q: stream went %s, want %s: %v", name, got, want, err)
			}
			if _, err := stream.Recv(); err == nil {
				t.Error("the stream did not end")
			}
		}
	}
}

func TestNobodyIsStable(t *testing.T) {
	t.Parallel()
	reg := resolver.NewMemory()
	t.Cleanup(func() { _ = reg.Close() })
	start(t, reg, "svc", "x", nil)
	for _, name := range []string{"", "y"} {
		ctx := lane.With(context20s(t), name)
		strict, _ := connect(t, reg, "svc")
		if _, err := strict.UnaryCall(ctx, &testpb.SimpleRequest{}); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "none of 1 instances") {
			t.Errorf("lane %q, and only x is there: %v", name, err)
		}
		lax, _ := connect(t, reg, "svc", lane.WithAny())
		if _, err := lax.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
			t.Errorf("lane %q, with any: %v", name, err)
		}
		own := balancer.WithTiers(ctx, balancer.Label(lane.Label, "x"))
		if _, err := strict.UnaryCall(own, &testpb.SimpleRequest{}); err != nil {
			t.Errorf("lane %q, with tiers of its own: %v", name, err)
		}
	}
	_, conn := connect(t, reg, "svc")
	why, err := balancer.Explain(lane.With(context20s(t), "y"), conn, "/grpc.testing.TestService/UnaryCall")
	if err != nil || why.Err == nil || why.Instances[0].Dropped != "in no tier" {
		t.Errorf("the explanation does not know of the lane: %v, %v", why, err)
	}
}

// From a call to an event, to another call.
func TestLanesGoWithEvents(t *testing.T) {
	t.Parallel()
	broker := pubsub.NewMemory()
	t.Cleanup(func() { _ = broker.Close(context20s(t)) })
	type seen struct{ group, id, lane string }
	got := make(chan seen, 10)
	ctx, cancel := context.WithCancel(context20s(t))
	done := make(chan error, 2)
	for group, m := range map[string]pubsub.Middleware{
		"stable":  lane.Accept(func(name string) bool { return name != "x" }),
		"group-x": lane.Accept(func(name string) bool { return name == "x" }),
	} {
		ready := make(chan struct{})
		go func() {
			done <- broker.Subscribe(ctx, "topic", group, func(ctx context.Context, d *pubsub.Delivery) error {
				got <- seen{group, d.ID, lane.From(ctx)}
				return nil
			}, pubsub.WithMiddleware(m), pubsub.WithReady(func() { close(ready) }))
		}()
		select {
		case <-ready:
		case err := <-done:
			t.Fatal(err)
		}
	}
	to := lane.Publisher(broker)
	for id, name := range map[string]string{"1": "", "2": "x", "3": "y"} {
		m := &pubsub.Message{ID: id, Topic: "topic", Value: []byte("v")}
		if err := to.Publish(lane.With(ctx, name), m); err != nil {
			t.Fatal(err)
		}
		if m.Time.IsZero() || len(m.Header) != 0 {
			t.Errorf("the caller's message: %+v, want the time filled in and no header", m)
		}
	}
	tagged := &pubsub.Message{ID: "4", Topic: "topic", Header: pubsub.Header{{Key: lane.Header, Value: []byte("x")}}}
	if err := to.Publish(lane.With(ctx, "y"), tagged); err != nil {
		t.Fatal(err)
	}
	all := map[seen]bool{}
	for range 4 {
		select {
		case s := <-got:
			all[s] = true
		case <-ctx.Done():
			t.Fatalf("only %v came", all)
		}
	}
	for _, want := range []seen{{"stable", "1", ""}, {"group-x", "2", "x"}, {"stable", "3", "y"}, {"group-x", "4", "x"}} {
		if !all[want] {
			t.Errorf("%v is not among %v", want, all)
		}
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkLane(b *testing.B) {
	rpctest.Benchmark(b,
		[]grpc.ServerOption{grpc.UnaryInterceptor(lane.UnaryServerInterceptor()), grpc.StreamInterceptor(lane.StreamServerInterceptor())},
		[]grpc.DialOption{grpc.WithUnaryInterceptor(lane.UnaryClientInterceptor()), grpc.WithStreamInterceptor(lane.StreamClientInterceptor())})
}
