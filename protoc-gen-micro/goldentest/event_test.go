package goldentest_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	commonv1 "github.com/grpc-micro/micro/protoc-gen-micro/testdata/common/v1"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/legacy"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/legacy/legacymicro"
	shopv1 "github.com/grpc-micro/micro/protoc-gen-micro/testdata/shop/v1"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/shop/v1/shopv1micro"
	"github.com/grpc-micro/micro/pubsub"
)

func TestEventArrives(t *testing.T) {
	t.Parallel()
	ctx, broker := deadline(t), newBroker(t)
	sent := &shopv1.OrderPlaced{OrderId: "7", Price: &commonv1.Money{Units: 3}}
	if err := shopv1micro.OrderPlacedTopic.Publish(ctx, broker, sent); err != nil {
		t.Fatal(err)
	}
	err := shopv1micro.OrderPlacedTopic.Subscribe(ctx, broker, "group", func(ctx context.Context, got *shopv1.OrderPlaced) error {
		d := pubsub.DeliveryFrom(ctx)
		if !proto.Equal(got, sent) || string(d.Key) != "7" || d.Topic != "shop.order-placed" || d.Type != "shop.v1.OrderPlaced" {
			t.Errorf("got %v in %+v", got, d.Message)
		}
		return nil
	}, pubsub.WithLimit(1))
	if err != nil {
		t.Error(err)
	}
}

func TestEventIsJSON(t *testing.T) {
	t.Parallel()
	m, err := shopv1micro.Order_ShippedTopic.Message(&shopv1.Order_Shipped{Carrier: "ship", Id: &shopv1.Order_Shipped_OrderId{OrderId: "7"}})
	if err != nil {
		t.Fatal(err)
	}
	if m.ContentType != "application/json" || string(m.Key) != "7" || len(m.Value) == 0 || m.Value[0] != '{' {
		t.Errorf("%s %s: %s", m.ContentType, m.Key, m.Value)
	}
	got, err := shopv1micro.Order_ShippedTopic.Decode(m)
	if err != nil || got.GetCarrier() != "ship" || got.GetOrderId() != "7" {
		t.Errorf("%v, %v", got, err)
	}
	// The other one of the oneof, and there is no key.
	if k, err := key(shopv1micro.Order_ShippedTopic.Message(&shopv1.Order_Shipped{Id: &shopv1.Order_Shipped_Number{Number: 7}})); err != nil || k != nil {
		t.Errorf("key %q, %v", k, err)
	}
}

// Seven tries with the pauses that the .proto asks for, and then it is put
// aside: the defaults of package pubsub are five, and longer.
func TestRetryAndDeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, broker := t.Context(), newBroker(t)
		if err := shopv1micro.OrderPlacedTopic.Publish(ctx, broker, &shopv1.OrderPlaced{OrderId: "7"}); err != nil {
			t.Fatal(err)
		}
		began, tries := time.Now(), 0
		err := shopv1micro.OrderPlacedTopic.Subscribe(ctx, broker, "group", func(context.Context, *shopv1.OrderPlaced) error {
			tries++
			return errors.New("never")
		}, pubsub.WithLimit(1), quiet)
		if err != nil || tries != 7 {
			t.Errorf("%d tries, %v", tries, err)
		}
		// 50, 100, 200, 400, 800 and 1600 ms, each shortened by up to a half.
		if took := time.Since(began); took < 1575*time.Millisecond || took > 3150*time.Millisecond {
			t.Errorf("six pauses took %v", took)
		}
		err = broker.Subscribe(ctx, "shop.order-placed.group.dead", "dead", func(_ context.Context, d *pubsub.Delivery) error {
			if dead, ok := pubsub.DeadLetterOf(d.Message); !ok || dead.Attempts != 7 || string(d.Key) != "7" {
				t.Errorf("%+v, %v", dead, ok)
			}
			return nil
		}, pubsub.WithLimit(1))
		if err != nil {
			t.Error(err)
		}
	})
}

// Without dead_letter what cannot be handled ends the subscription, and there
// is no limit of tries.
func TestNoDeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, broker := t.Context(), newBroker(t)
		if err := legacymicro.LegacyRecord_MovedTopic.Publish(ctx, broker, &legacy.LegacyRecord_Moved{To: new("here")}); err != nil {
			t.Fatal(err)
		}
		began, tries := time.Now(), 0
		bad := errors.New("bad")
		err := legacymicro.LegacyRecord_MovedTopic.Subscribe(ctx, broker, "group", func(context.Context, *legacy.LegacyRecord_Moved) error {
			if tries++; tries < 10 {
				return bad
			}
			return pubsub.Permanent(bad)
		}, quiet)
		if !errors.Is(err, bad) || tries != 10 {
			t.Errorf("%d tries, %v", tries, err)
		}
		// It begins with a nanosecond, which doubles eight times.
		if took := time.Since(began); took > time.Microsecond {
			t.Errorf("nine pauses took %v", took)
		}
	})
}

var quiet = pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler))

func key(m *pubsub.Message, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return m.Key, nil
}
