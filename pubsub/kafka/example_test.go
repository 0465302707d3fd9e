package kafka_test

import (
	"context"
	"fmt"
	"log"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// Ordered is an event. Most programs generate theirs from a .proto file.
type Ordered struct{ ID, Item string }

var orders = pubsub.NewTopic[Ordered]("orders", pubsub.WithKey(func(o *Ordered) string { return o.ID }))

func Example() {
	ctx := context.Background()
	cluster, err := dev.StartKafka(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()

	b, err := kafka.New(cluster.Addrs(), kafka.WithAutoCreate(3, 1)) // or pubsub.Open("kafka://…?auto_create=3")
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

// One bad message of a batch does not hide what became of the others.
func ExampleBroker_Publish() {
	ctx := context.Background()
	cluster, err := dev.StartKafka(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	b, err := kafka.New(cluster.Addrs())
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)
	if err := cluster.Cluster().CreateTopic("known", 1, nil); err != nil {
		log.Fatal(err)
	}

	err = b.Publish(ctx, &pubsub.Message{ID: "1", Topic: "known"}, &pubsub.Message{ID: "2", Topic: "unknown"})
	fmt.Println(err)
	// Output:
	// pubsub: 1 of 2 messages failed, the first: pubsub: rejected: kafka: message 2 to unknown: topic unknown does not exist: create it, or let the broker do it in development (WithAutoCreate, auto_create=1)
}
