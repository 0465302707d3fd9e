package micro_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

// quiet keeps log lines, which have the time in them, out of the examples.
var quiet = micro.WithLogger(slog.New(slog.DiscardHandler))

// A service, and a client that finds it by name. Both sides are stock grpc
// stubs; etcd:// in the place of memory:// is all that a second machine needs.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	reg, err := resolver.Open("memory://example")
	if err != nil {
		log.Fatal(err)
	}
	svc := micro.New("echo", micro.WithRegistry(reg), micro.WithAddress("127.0.0.1:0"), micro.WithVersion("v1"), quiet)
	testpb.RegisterTestServiceServer(svc, &server{id: "instance 1"})
	done := make(chan error)
	go func() { done <- svc.Run(ctx) }()
	<-svc.Ready()

	conn, err := micro.NewClient("echo", reg, micro.Insecure())
	if err != nil {
		log.Fatal(err)
	}
	reply, err := testpb.NewTestServiceClient(conn).UnaryCall(ctx, &testpb.SimpleRequest{})
	fmt.Println(string(reply.GetPayload().GetBody()), err)

	// A call that only a v2 may answer.
	v2 := balancer.WithFilter(ctx, balancer.Version("v2"))
	_, err = testpb.NewTestServiceClient(conn).UnaryCall(v2, &testpb.SimpleRequest{})
	fmt.Println(err)

	_ = conn.Close()
	stop()
	fmt.Println(<-done)
	_ = reg.Close()
	// Output:
	// instance 1 <nil>
	// rpc error: code = Unavailable desc = balancer: none of 1 instances of echo has version "v2"
	// <nil>
}

// Messages above the 4 MiB that grpc takes by default: each side says how much it
// receives.
func ExampleWithServerOptions() {
	const most = 16<<20 + 1<<10 // a payload, and what protobuf puts round it
	ctx, stop := context.WithCancel(context.Background())
	reg := resolver.NewMemory()
	svc := micro.New("mirror", micro.WithRegistry(reg), micro.WithAddress("127.0.0.1:0"), quiet,
		micro.WithServerOptions(grpc.MaxRecvMsgSize(most)))
	testpb.RegisterTestServiceServer(svc, mirror{})
	done := make(chan error)
	go func() { done <- svc.Run(ctx) }()
	<-svc.Ready()

	conn, err := micro.NewClient("mirror", reg, micro.Insecure(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(most)))
	if err != nil {
		log.Fatal(err)
	}
	large := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 16<<20)}}
	reply, err := testpb.NewTestServiceClient(conn).UnaryCall(ctx, large)
	fmt.Println(len(reply.GetPayload().GetBody())>>20, "MiB", err)

	_ = conn.Close()
	stop()
	fmt.Println(<-done)
	_ = reg.Close()
	// Output:
	// 16 MiB <nil>
	// <nil>
}

// mirror answers with what it was asked.
type mirror struct {
	testpb.UnimplementedTestServiceServer
}

func (mirror) UnaryCall(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: req.GetPayload()}, nil
}

// A Function serves one call, and ends by itself.
func ExampleNewFunction() {
	reg := resolver.NewMemory()
	fn := micro.NewFunction("resize", micro.WithRegistry(reg), micro.WithAddress("127.0.0.1:0"), quiet)
	testpb.RegisterTestServiceServer(fn, &server{id: "resized"})
	done := make(chan error)
	go func() { done <- fn.Run(context.Background()) }()
	<-fn.Ready()

	conn, err := micro.NewClient("resize", reg, micro.Insecure())
	if err != nil {
		log.Fatal(err)
	}
	reply, err := testpb.NewTestServiceClient(conn).UnaryCall(context.Background(), &testpb.SimpleRequest{})
	fmt.Println(string(reply.GetPayload().GetBody()), err)
	fmt.Println(<-done)
	_ = conn.Close()
	_ = reg.Close()
	// Output:
	// resized <nil>
	// <nil>
}

type placed struct{ Order string }

var placedTopic = pubsub.NewTopic[placed]("orders.placed")

// A service that handles events. At its end the events in hand are finished
// and acknowledged before Run returns.
func ExampleSubscribe() {
	ctx, stop := context.WithCancel(context.Background())
	broker := pubsub.NewMemory()
	svc := micro.New("shipping", micro.WithBroker(broker), micro.WithAddress("127.0.0.1:0"), quiet)
	micro.Subscribe(svc, placedTopic, broker, "shipping", func(_ context.Context, p *placed) error {
		fmt.Println("shipping", p.Order)
		stop()
		return nil
	})
	if err := placedTopic.Publish(ctx, broker, &placed{"42"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(svc.Run(ctx))
	// Output:
	// shipping 42
	// <nil>
}
