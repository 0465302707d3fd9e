package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/grpc-micro/micro/codec"
	"github.com/grpc-micro/micro/pubsub"
)

// Signup is an event that is a plain struct, and travels as JSON.
type Signup struct {
	User, Plan string
}

var signups = pubsub.NewTopic[Signup]("accounts.signup",
	pubsub.WithKey(func(s *Signup) string { return s.User }))

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker, err := pubsub.Open("memory://example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close(ctx)

	if err := signups.Publish(ctx, broker, &Signup{User: "ada", Plan: "free"}); err != nil {
		fmt.Println(err)
	}
	err = signups.Subscribe(ctx, broker, "mailer", func(_ context.Context, s *Signup) error {
		fmt.Println("welcome", s.User)
		return nil
	}, pubsub.WithLimit(1)) // without a limit it goes on until ctx ends
	fmt.Println("ended:", err)
	// Output:
	// welcome ada
	// ended: <nil>
}

// A service checks its topics, and those of its dead letters, before it starts.
func ExampleEnsureTopics() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory()
	placed := pubsub.NewTopic[Signup]("orders.placed", pubsub.WithTopicSpec(pubsub.TopicSpec{
		Partitions: 12, Replication: 3, Config: map[string]string{"retention.ms": "604800000"},
	}))
	dead := pubsub.TopicSpec{Name: "orders.placed.billing.dead", Partitions: 1, Replication: 3}
	fmt.Println(pubsub.EnsureTopics(ctx, broker, placed, dead))

	placed = pubsub.NewTopic[Signup]("orders.placed", pubsub.WithTopicSpec(pubsub.TopicSpec{Partitions: 24}))
	fmt.Println(pubsub.EnsureTopics(ctx, broker, placed))
	// Output:
	// <nil>
	// pubsub: topic orders.placed has 12 partitions, and 24 are declared: ensure it before it is used
}

func ExampleTopic_Message() {
	m, err := signups.Message(&Signup{User: "ada"}, pubsub.WithCodec(codec.JSON), pubsub.WithHeader("tenant", []byte("7")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Topic, m.Type, m.ContentType)
	fmt.Printf("%s: %s\n", m.Key, m.Value)
	// Output:
	// accounts.signup pubsub_test.Signup application/json
	// ada: {"User":"ada","Plan":""}
}

func ExampleTopic_Decode() {
	texts := pubsub.NewTopic[wrapperspb.StringValue]("texts")
	text, err := texts.Decode(&pubsub.Message{ContentType: "application/json", Value: []byte(`"by hand"`)})
	fmt.Println(text.GetValue(), err)
	_, err = texts.Decode(&pubsub.Message{ID: "1", Topic: "texts", ContentType: "text/plain", Value: []byte("x")})
	fmt.Println(err)
	// Output:
	// by hand <nil>
	// pubsub: event does not decode: message 1 of topic texts, as google.protobuf.StringValue: no codec for content type "text/plain": import its package
}

// A handler that fails for good sends its event to the dead-letter topic.
func ExampleWithDeadLetter() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory()
	if err := signups.Publish(ctx, broker, &Signup{User: "ada", Plan: "gold"}); err != nil {
		fmt.Println(err)
	}
	err := signups.Subscribe(ctx, broker, "billing", func(_ context.Context, s *Signup) error {
		return pubsub.Permanent(errors.New("no such plan: " + s.Plan))
	}, pubsub.WithDeadLetter(), pubsub.WithLimit(1), pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler)))
	fmt.Println("ended:", err)

	err = broker.Subscribe(ctx, "accounts.signup.billing.dead", "operator", func(_ context.Context, d *pubsub.Delivery) error {
		letter, _ := pubsub.DeadLetterOf(d.Message)
		fmt.Printf("%s of %s after %d attempt: %s\n", d.Key, letter.Topic, letter.Attempts, letter.Cause)
		return nil
	}, pubsub.WithLimit(1))
	fmt.Println("ended:", err)
	// Output:
	// ended: <nil>
	// ada of accounts.signup after 1 attempt: no such plan: gold
	// ended: <nil>
}

// When what was wrong is mended, dead letters go back to the group that gave them
// up.
func ExampleRedrive() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory()
	plans := map[string]bool{"free": true}
	bill := func() {
		err := signups.Subscribe(ctx, broker, "billing", func(_ context.Context, s *Signup) error {
			if !plans[s.Plan] {
				return pubsub.Permanent(errors.New("no such plan: " + s.Plan))
			}
			fmt.Println("billed", s.User)
			return nil
		}, pubsub.WithDeadLetter(), pubsub.WithLimit(1), pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler)))
		fmt.Println("ended:", err)
	}
	if err := signups.Publish(ctx, broker, &Signup{User: "ada", Plan: "gold"}); err != nil {
		fmt.Println(err)
	}
	bill()

	plans["gold"] = true
	n, err := pubsub.Redrive(ctx, broker, "accounts.signup.billing.dead", pubsub.WithRedriveIdle(time.Second))
	fmt.Println("redriven:", n, err)
	bill()
	// Output:
	// ended: <nil>
	// redriven: 1 <nil>
	// billed ada
	// ended: <nil>
}

// A publisher that got no answer sends the event again, with the same ID.
func ExampleDedup() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory()
	for range 2 {
		if err := signups.Publish(ctx, broker, &Signup{User: "ada"}, pubsub.WithID("signup-1")); err != nil {
			fmt.Println(err)
		}
	}
	err := signups.Subscribe(ctx, broker, "mailer", func(_ context.Context, s *Signup) error {
		fmt.Println("welcome", s.User)
		return nil
	}, pubsub.WithMiddleware(pubsub.Dedup(pubsub.NewDedupMemory(10_000, time.Hour))), pubsub.WithLimit(2))
	fmt.Println("ended:", err)
	// Output:
	// welcome ada
	// ended: <nil>
}

func ExampleSubscriptions() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory()
	for _, user := range []string{"ada", "bob", "cyd"} {
		if err := signups.Publish(ctx, broker, &Signup{User: user}); err != nil {
			fmt.Println(err)
		}
	}
	err := signups.Subscribe(ctx, broker, "mailer", func(context.Context, *Signup) error {
		for _, s := range pubsub.Subscriptions() {
			fmt.Printf("%s/%s: %d handled, %d at work\n", s.Topic, s.Group, s.Handled, s.Running)
		}
		return nil
	}, pubsub.WithLimit(2), pubsub.WithConcurrency(1))
	fmt.Println("ended:", err)
	// Output:
	// accounts.signup/mailer: 0 handled, 1 at work
	// accounts.signup/mailer: 1 handled, 1 at work
	// ended: <nil>
}

func ExampleWithMiddleware() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker := pubsub.NewMemory()
	if err := signups.Publish(ctx, broker, &Signup{User: "ada"}, pubsub.WithHeader("tenant", []byte("7"))); err != nil {
		fmt.Println(err)
	}
	announce := func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			fmt.Printf("%s of tenant %s, attempt %d\n", d.Type, d.Header.Get("tenant"), d.Attempt)
			return next(ctx, d)
		}
	}
	err := signups.Subscribe(ctx, broker, "mailer", func(context.Context, *Signup) error { return nil },
		pubsub.WithMiddleware(announce), pubsub.WithLimit(1))
	fmt.Println("ended:", err)
	// Output:
	// pubsub_test.Signup of tenant 7, attempt 1
	// ended: <nil>
}

func ExamplePublishError() {
	broker := pubsub.NewMemory()
	err := broker.Publish(context.Background(),
		&pubsub.Message{Topic: "a topic"},
		&pubsub.Message{Topic: "fine"})
	if failure, ok := errors.AsType[*pubsub.PublishError](err); ok {
		for _, result := range failure.Results {
			fmt.Println(errors.Is(result, pubsub.ErrRejected), result)
		}
	}
	// Output:
	// true pubsub: rejected: topic "a topic": only letters, digits, '.', '_' and '-' are allowed
	// false pubsub: not sent: another message of the call was rejected
}
