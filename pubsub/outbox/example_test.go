package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"time"

	_ "modernc.org/sqlite" // driver "sqlite"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/outbox"
)

// Paid is an event. Most programs generate theirs from a .proto file.
type Paid struct {
	Order  string
	Amount int
}

var paid = pubsub.NewTopic[Paid]("orders.paid", pubsub.WithKey(func(p *Paid) string { return p.Order }))

var box = outbox.Must(outbox.SQLite)

// pay changes the state and sends the event, or neither.
func pay(ctx context.Context, db *sql.DB, order string, amount int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing once it is committed
	if _, err := tx.ExecContext(ctx, `UPDATE orders SET open = open - ? WHERE id = ?`, amount, order); err != nil {
		return err
	}
	if err := paid.Publish(ctx, box.Publisher(tx), &Paid{Order: order, Amount: amount}); err != nil {
		return err
	}
	var open int
	if err := tx.QueryRowContext(ctx, `SELECT open FROM orders WHERE id = ?`, order).Scan(&open); err != nil {
		return err
	}
	if open < 0 {
		return errors.New("that is too much")
	}
	return tx.Commit()
}

func Example() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:example?mode=memory&cache=shared&_pragma=busy_timeout(5000)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, outbox.Schema(outbox.SQLite)+
		`CREATE TABLE orders (id text, open int); INSERT INTO orders VALUES ('order-1', 30)`); err != nil {
		log.Fatal(err)
	}
	for _, amount := range []int{10, 25, 20} {
		if err := pay(ctx, db, "order-1", amount); err != nil {
			fmt.Printf("%d: %v\n", amount, err)
		}
	}

	broker := pubsub.NewMemory()
	defer broker.Close(ctx)
	relay, err := box.Relay(db, broker, outbox.WithPoll(10*time.Millisecond), outbox.WithLogger(quiet))
	if err != nil {
		log.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- relay.Run(run) }() // in a service: service.Go(relay.Run)

	if err := paid.Subscribe(ctx, broker, "ledger", func(_ context.Context, p *Paid) error {
		fmt.Println(p.Order, p.Amount)
		return nil
	}, pubsub.WithLimit(2)); err != nil {
		log.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	// Output:
	// 25: that is too much
	// order-1 10
	// order-1 20
}
