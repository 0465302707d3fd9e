// Greeter is the whole of micro in one program: an embedded etcd and an
// embedded Kafka-protocol broker, three instances of a service in two versions,
// a client that finds them by name, a bidirectional stream, a call that goes to
// one version only, and an event that two groups of subscribers handle.
//
//	go run ./examples/greeter
//
// In production the servers, the client and the subscribers are programs of
// their own, and the two URLs are those of an etcd cluster and of Kafka.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"time"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/examples/greeter/greeterv1"
	"github.com/grpc-micro/micro/examples/greeter/greeterv1/greeterv1micro"
	"github.com/grpc-micro/micro/interceptors"
	"github.com/grpc-micro/micro/pubsub"
	_ "github.com/grpc-micro/micro/pubsub/kafka"
	"github.com/grpc-micro/micro/resolver"
	_ "github.com/grpc-micro/micro/resolver/etcd"
)

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
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	began := time.Now()
	step := func(format string, args ...any) {
		fmt.Fprintf(out, "%5.2fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}

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
	step("etcd and a Kafka-protocol broker are up, embedded")

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

	running, servers := context.WithCancel(ctx)
	var all fleet
	defer closing(&err, all.wait)
	defer servers()
	for _, instance := range []struct{ id, version string }{{"greeter-1", "v1"}, {"greeter-2", "v1"}, {"greeter-3", "v2"}} {
		svc := greeterv1micro.NewGreeterService(
			&greeter{id: instance.id, version: instance.version, broker: broker},
			append(options(registry), micro.WithID(instance.id), micro.WithVersion(instance.version))...)
		if err := all.run(running, svc); err != nil {
			return err
		}
		step("%s (%s) serves on %s", instance.id, instance.version, svc.Addr())
	}
	heard := make(chan string, 100)
	for _, group := range []string{"mailer", "statistics"} {
		if err := subscribe(running, &all, registry, broker, group, heard); err != nil {
			return err
		}
		step("the group %s subscribes to %s", group, greeterv1micro.GreetedTopic.Name())
	}

	if err := talk(ctx, step, registry); err != nil {
		return err
	}
	if err := listen(ctx, step, heard); err != nil {
		return err
	}
	servers()
	if err := all.wait(); err != nil {
		return err
	}
	step("everything has stopped: drained, withdrawn, calls and events finished")
	return nil
}

// talk is the client's part.
func talk(ctx context.Context, step func(string, ...any), registry resolver.Discovery) (err error) {
	client, err := greeterv1micro.NewGreeterClient(registry, micro.Insecure())
	if err != nil {
		return err
	}
	defer closing(&err, client.Close)

	// All three are found by the name in the .proto. Calls spread over them.
	answers := map[string]int{}
	for len(answers) < 3 {
		reply, err := client.Describe(ctx, &greeterv1.DescribeRequest{})
		if err != nil {
			return err
		}
		answers[reply.GetInstance()]++
	}
	step("calls by name %s are answered by %v", greeterv1micro.GreeterName, slices.Sorted(maps.Keys(answers)))

	for _, name := range []string{"Ada", "Grace", "Barbara"} {
		reply, err := client.SayHello(ctx, &greeterv1.SayHelloRequest{Name: name})
		if err != nil {
			return err
		}
		step("%s (from %s)", reply.GetGreeting(), reply.GetInstance())
	}

	onlyV2 := balancer.WithFilter(ctx, balancer.Version("v2"))
	for range 3 {
		reply, err := client.Describe(onlyV2, &greeterv1.DescribeRequest{})
		if err != nil {
			return err
		}
		step("a call for version v2 only is answered by %s (%s)", reply.GetInstance(), reply.GetVersion())
	}
	return chat(ctx, step, client)
}

// chat holds a conversation over one bidirectional stream.
func chat(ctx context.Context, step func(string, ...any), client greeterv1.GreeterClient) error {
	stream, err := client.Chat(ctx)
	if err != nil {
		return err
	}
	for _, text := range []string{"How are you?", "And the weather?"} {
		if err := stream.Send(&greeterv1.ChatRequest{Text: text}); err != nil {
			return err
		}
		reply, err := stream.Recv()
		if err != nil {
			return err
		}
		step("on one stream: %q – %q (from %s)", text, reply.GetText(), reply.GetInstance())
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream did not end: %w", err)
	}
	return nil
}

// subscribe runs a service that serves no calls, and handles events.
func subscribe(ctx context.Context, all *fleet, registry resolver.Registry, broker pubsub.Broker, group string, heard chan<- string) error {
	ready := make(chan struct{})
	svc := micro.New(group, append(options(registry), micro.WithID(group+"-1"))...)
	micro.Subscribe(svc, greeterv1micro.GreetedTopic, broker, group, func(_ context.Context, e *greeterv1.Greeted) error {
		heard <- fmt.Sprintf("%s heard that %s greeted %s", group, e.GetInstance(), e.GetName())
		return nil
	}, pubsub.WithReady(func() { close(ready) }))
	return all.run(ctx, svc, ready)
}

// listen waits for both groups to have heard of the three greetings.
func listen(ctx context.Context, step func(string, ...any), heard <-chan string) error {
	var lines []string
	for range 2 * 3 {
		select {
		case line := <-heard:
			lines = append(lines, line)
		case <-ctx.Done():
			return fmt.Errorf("heard only of %v: %w", lines, ctx.Err())
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		step("event: %s", line)
	}
	return nil
}

func options(registry resolver.Registrar) []micro.Option {
	return []micro.Option{
		micro.WithRegistry(registry),
		micro.WithAddress("127.0.0.1:0"),
		micro.WithDrainDelay(100 * time.Millisecond), // long enough for clients in one process
		micro.WithServerOptions(interceptors.Server()...),
	}
}

// greeter is the service.
type greeter struct {
	greeterv1.UnimplementedGreeterServer

	id, version string
	broker      pubsub.Publisher
}

func (g *greeter) SayHello(ctx context.Context, req *greeterv1.SayHelloRequest) (*greeterv1.SayHelloResponse, error) {
	greeting := fmt.Sprintf("Hello, %s!", req.GetName())
	event := &greeterv1.Greeted{Name: req.GetName(), Greeting: greeting, Instance: g.id}
	if err := greeterv1micro.GreetedTopic.Publish(ctx, g.broker, event); err != nil {
		return nil, err
	}
	return &greeterv1.SayHelloResponse{Greeting: greeting, Instance: g.id}, nil
}

func (g *greeter) Describe(context.Context, *greeterv1.DescribeRequest) (*greeterv1.DescribeResponse, error) {
	return &greeterv1.DescribeResponse{Instance: g.id, Version: g.version}, nil
}

func (g *greeter) Chat(stream greeterv1.Greeter_ChatServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		reply := &greeterv1.ChatResponse{Text: fmt.Sprintf("That was %d letters.", len(req.GetText())), Instance: g.id}
		if err := stream.Send(reply); err != nil {
			return err
		}
	}
}

// fleet is the services of this program.
type fleet struct {
	running sync.WaitGroup

	mu  sync.Mutex
	err error
}

// run starts svc and returns when it can be found, and what else is to be ready
// is.
func (f *fleet) run(ctx context.Context, svc *micro.Service, ready ...<-chan struct{}) error {
	ended := make(chan error, 1)
	f.running.Go(func() {
		err := svc.Run(ctx)
		ended <- err
		f.mu.Lock()
		f.err = errors.Join(f.err, err)
		f.mu.Unlock()
	})
	for _, ready := range append(ready, svc.Ready()) {
		select {
		case <-ready:
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// wait returns when all have stopped, with what went wrong since the last time.
func (f *fleet) wait() error {
	f.running.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.err
	f.err = nil // it is told once
	return err
}

// closing keeps the error of a deferred Close.
func closing(err *error, end func() error) { *err = errors.Join(*err, end()) }
