package micro_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/pubsub"
)

type event struct{ Name string }

var events = pubsub.NewTopic[event]("test.events")

func TestFunctionHandlesOneEvent(t *testing.T) {
	t.Parallel()
	broker := pubsub.NewMemory()
	for n := range 3 {
		if err := events.Publish(deadline(t), broker, &event{Name: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	var handled []string
	for n := range 3 { // each function takes one, and the next goes on behind it
		fn := newFunction(memory(t), &server{id: fmt.Sprint("f", n)})
		micro.Subscribe(fn, events, broker, "group", func(_ context.Context, e *event) error {
			handled = append(handled, e.Name)
			return nil
		})
		if err := fn.Run(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if len(handled) != n+1 {
			t.Fatalf("after %d functions %d events were handled: %v", n+1, len(handled), handled)
		}
	}
	seen := map[string]bool{}
	for _, name := range handled {
		seen[name] = true
	}
	if len(seen) != 3 {
		t.Errorf("handled %v, want each of three events once", handled)
	}
	if err := broker.Close(deadline(t)); err != nil {
		t.Error(err)
	}
}
