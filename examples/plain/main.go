// Plain uses the parts of micro without package micro: a server and a client
// that are grpc-go's own get discovery from package resolver, a policy from
// package balancer, and a typed topic from package pubsub. Take what you need
// and leave the rest.
//
//	go run ./examples/plain
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	_ "github.com/grpc-micro/micro/balancer" // registers the policies that service configs name
	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/examples/greeter/greeterv1"
	"github.com/grpc-micro/micro/pubsub"
	_ "github.com/grpc-micro/micro/pubsub/kafka"
	"github.com/grpc-micro/micro/resolver"
	_ "github.com/grpc-micro/micro/resolver/etcd"
)

// greeted is a topic without an annotation in the .proto. Events with the same
// name stay in order.
var greeted = pubsub.NewTopic[greeterv1.Greeted]("plain.greeted",
	pubsub.WithKey(func(e *greeterv1.Greeted) string { return e.GetName() }))

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn) // the story is told by this program
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	etcd, err := dev.StartEtcd(ctx)
	if err != nil {
		return err
	}
	defer closing(&err, etcd.Close)
	kafka, err := dev.StartKafka(ctx)
	if err != nil {
		return err
	}
	defer closing(&err, kafka.Close)
	registry, err := resolver.Open(etcd.URL())
	if err != nil {
		return err
	}
	defer closing(&err, registry.Close)
	broker, err := pubsub.Open(kafka.URL() + "?auto_create=6") // in production topics are there before
	if err != nil {
		return err
	}
	defer closing(&err, func() error { return broker.Close(context.WithoutCancel(ctx)) })

	stop, err := serve(ctx, registry, broker)
	if err != nil {
		return err
	}
	defer closing(&err, stop)
	if err := call(ctx, out, registry); err != nil {
		return err
	}
	return hear(ctx, out, broker)
}

// serve runs a grpc.Server and announces it. The stop it returns withdraws it
// before the server ends, so that no client is sent there in vain.
func serve(ctx context.Context, registry resolver.Registrar, events pubsub.Publisher) (stop func() error, err error) {
	lis, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer()
	greeterv1.RegisterGreeterServer(server, &greeter{events: events})
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()

	announcer := resolver.NewAnnouncer(registry, &resolver.Instance{ID: "plain-1", Service: "greeter", Addrs: []string{lis.Addr().String()}})
	announcing, withdraw := context.WithCancel(ctx)
	withdrawn := make(chan error, 1)
	go func() { withdrawn <- announcer.Run(announcing) }()
	return func() error {
		withdraw()
		err := <-withdrawn
		server.GracefulStop()
		return errors.Join(err, <-served)
	}, nil
}

// call finds the server by its name. Calls wait until it is announced.
func call(ctx context.Context, out io.Writer, registry resolver.Discovery) (err error) {
	conn, err := grpc.NewClient("micro:///greeter",
		grpc.WithResolvers(resolver.NewBuilder(registry)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"micro_least_request":{}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer closing(&err, conn.Close)
	client := greeterv1.NewGreeterClient(conn)
	for _, name := range []string{"Ada", "Grace"} {
		reply, err := client.SayHello(ctx, &greeterv1.SayHelloRequest{Name: name}, grpc.WaitForReady(true))
		if err != nil {
			return err
		}
		fmt.Fprintln(out, reply.GetGreeting())
	}
	return nil
}

// hear subscribes until both events have come. A new group begins with the
// oldest event.
func hear(ctx context.Context, out io.Writer, broker pubsub.Broker) error {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	left := 2
	return greeted.Subscribe(ctx, broker, "listeners", func(_ context.Context, e *greeterv1.Greeted) error {
		fmt.Fprintln(out, "heard that", e.GetName(), "was greeted")
		if left--; left == 0 {
			enough()
		}
		return nil
	}, pubsub.WithConcurrency(1))
}

type greeter struct {
	greeterv1.UnimplementedGreeterServer

	events pubsub.Publisher
}

func (g *greeter) SayHello(ctx context.Context, req *greeterv1.SayHelloRequest) (*greeterv1.SayHelloResponse, error) {
	if err := greeted.Publish(ctx, g.events, &greeterv1.Greeted{Name: req.GetName()}); err != nil {
		return nil, err
	}
	return &greeterv1.SayHelloResponse{Greeting: "Hello, " + req.GetName()}, nil
}

// closing keeps the error of a deferred Close.
func closing(err *error, end func() error) { *err = errors.Join(*err, end()) }
