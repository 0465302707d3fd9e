// Function shows the Function model: a service that serves one call, or one
// event, and ends. Three functions serve three calls that are made at the same
// time; a function that is called while it has its call refuses, and the
// client's connection sends the call to the next one.
//
//	go run ./examples/function
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"time"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/examples/greeter/greeterv1"
	"github.com/grpc-micro/micro/examples/greeter/greeterv1/greeterv1micro"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
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

func run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	registry := resolver.NewMemory()
	broker := pubsub.NewMemory()
	err := threeCalls(ctx, out, registry)
	if err == nil {
		err = oneEvent(ctx, out, registry, broker)
	}
	return errors.Join(err, broker.Close(context.WithoutCancel(ctx)), registry.Close())
}

// threeCalls serves three calls with three functions.
func threeCalls(ctx context.Context, out io.Writer, registry resolver.Registry) (err error) {
	var functions sync.WaitGroup
	for n := range 3 {
		id := fmt.Sprintf("function-%d", n+1)
		fn := greeterv1micro.NewGreeterFunction(&greeter{id: id},
			micro.WithRegistry(registry),
			micro.WithAddress("127.0.0.1:0"),
			micro.WithID(id))
		functions.Go(func() {
			if err := fn.Run(ctx); err != nil {
				log.Print(err)
			}
		})
		<-fn.Ready()
	}

	client, err := greeterv1micro.NewGreeterClient(registry, micro.Insecure())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	replies := make(chan string, 3)
	var calls sync.WaitGroup
	for _, name := range []string{"Ada", "Grace", "Barbara"} {
		calls.Go(func() {
			reply, err := client.SayHello(ctx, &greeterv1.SayHelloRequest{Name: name})
			if err != nil {
				replies <- err.Error()
				return
			}
			replies <- fmt.Sprintf("%s (from %s)", reply.GetGreeting(), reply.GetInstance())
		})
	}
	calls.Wait()
	close(replies)
	var lines []string
	for line := range replies {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
	functions.Wait()
	fmt.Fprintln(out, "three functions served one call each, and ended")
	return nil
}

// oneEvent handles one of two events: the function ends after the first.
func oneEvent(ctx context.Context, out io.Writer, registry resolver.Registry, broker pubsub.Broker) error {
	for _, name := range []string{"Ada", "Grace"} {
		if err := greeterv1micro.GreetedTopic.Publish(ctx, broker, &greeterv1.Greeted{Name: name}); err != nil {
			return err
		}
	}
	fn := micro.NewFunction("welcome",
		micro.WithRegistry(registry),
		micro.WithAddress("127.0.0.1:0"))
	micro.Subscribe(fn, greeterv1micro.GreetedTopic, broker, "welcome", func(context.Context, *greeterv1.Greeted) error {
		fmt.Fprintln(out, "one event handled")
		return nil
	})
	if err := fn.Run(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "the function ended, and the other event waits for the next one")
	return nil
}

type greeter struct {
	greeterv1.UnimplementedGreeterServer

	id string
}

func (g *greeter) SayHello(_ context.Context, req *greeterv1.SayHelloRequest) (*greeterv1.SayHelloResponse, error) {
	return &greeterv1.SayHelloResponse{Greeting: "Hello, " + req.GetName(), Instance: g.id}, nil
}
