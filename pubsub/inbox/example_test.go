package inbox_test

import (
	"context"
	"fmt"
	"log"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/inbox"
	"github.com/grpc-micro/micro/resolver"
)

// Ordered is an event. Most programs generate theirs from a .proto file.
type Ordered struct{ ID, Item string }

var orders = pubsub.NewTopic[Ordered]("orders", pubsub.WithKey(func(o *Ordered) string { return o.ID }))

func Example() {
	ctx := context.Background()
	reg := resolver.NewMemory() // or resolver.Open("etcd://…")
	defer reg.Close()

	// Publisher and subscriber are two processes, mostly.
	shop, err := inbox.New(reg, inbox.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	warehouse, err := inbox.New(reg, inbox.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer warehouse.Close(ctx)

	for _, item := range []string{"tea", "milk", "sugar"} {
		if err := orders.Publish(ctx, shop, &Ordered{ID: "order-1", Item: item}); err != nil {
			log.Fatal(err)
		}
	}
	err = orders.Subscribe(ctx, warehouse, "warehouse", func(_ context.Context, o *Ordered) error {
		fmt.Println(o.ID, o.Item)
		return nil
	}, pubsub.WithLimit(3), pubsub.WithSubscribeLogger(quiet))
	if err != nil {
		log.Fatal(err)
	}
	if err := shop.Close(ctx); err != nil { // delivers what is left
		log.Fatal(err)
	}
	// Output:
	// order-1 tea
	// order-1 milk
	// order-1 sugar
}
