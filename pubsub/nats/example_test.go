package nats_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/nats"
)

// Ordered is an event. Most programs generate theirs from a .proto file.
type Ordered struct{ ID, Item string }

var orders = pubsub.NewTopic[Ordered]("orders", pubsub.WithKey(func(o *Ordered) string { return o.ID }))

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "nats")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	srv, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoLog: true, NoSigs: true})
	if err != nil {
		log.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(10 * time.Second) {
		log.Fatal("the server does not start")
	}

	// A program that talks to servers elsewhere says
	// pubsub.Open("nats://h1:4222,h2:4222?auto_create=3").
	b, err := nats.New([]string{"in-process"}, nats.WithAutoCreate(3), nats.WithClientOptions(natsgo.InProcessServer(srv)))
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)

	for _, item := range []string{"tea", "milk", "sugar"} {
		if err := orders.Publish(ctx, b, &Ordered{ID: "order-1", Item: item}); err != nil {
			log.Fatal(err)
		}
	}
	err = orders.Subscribe(ctx, b, "warehouse", func(_ context.Context, o *Ordered) error {
		fmt.Println(o.ID, o.Item)
		return nil
	}, pubsub.WithLimit(3), pubsub.WithSubscribeLogger(quiet))
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// order-1 tea
	// order-1 milk
	// order-1 sugar
}
