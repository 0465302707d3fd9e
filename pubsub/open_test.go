package pubsub_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/grpc-micro/micro/pubsub"
)

func TestOpenInvalid(t *testing.T) {
	t.Parallel()
	for rawURL, want := range map[string]string{
		"":                                   "unknown scheme",
		"nats://h":                           "known are",
		"kafkaa://u:secret@h":                "import _",
		"memory":                             "unknown scheme",
		"memory://":                          "memory://name",
		"memory://n/path":                    "memory://name",
		"memory://u:secret@n":                "memory://name",
		"memory://n?partition=1":             `"partition"`,
		"memory://n?partitions=0":            "1 or more",
		"memory://n?partitions=x":            "one number",
		"memory://n?retention=1&retention=2": "one number",
		"memory://n?a=%zz":                   "invalid URL escape",
		"kafka://u:secret@h:port:port/%":     "malformed",
	} {
		b, err := pubsub.Open(rawURL)
		if err == nil {
			t.Errorf("Open(%q) = %v", rawURL, b)
			continue
		}
		if !strings.HasPrefix(err.Error(), "pubsub: open broker") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q): %v, want one with %q", rawURL, err, want)
		}
	}
}

var errTestScheme = errors.New("no")

func init() {
	pubsub.RegisterScheme("test-scheme", func(*url.URL) (pubsub.Broker, error) { return nil, errTestScheme })
}

func TestRegisterScheme(t *testing.T) {
	t.Parallel()
	if _, err := pubsub.Open("test-scheme://h"); !errors.Is(err, errTestScheme) {
		t.Errorf("got %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a scheme was registered twice")
		}
	}()
	pubsub.RegisterScheme("memory", nil)
}

// Open of one name is one broker, until all that opened it have closed it.
func TestOpenShares(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	open := func(rawURL string) pubsub.Broker {
		t.Helper()
		b, err := pubsub.Open(rawURL)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one := func(b pubsub.Broker, group string) error {
		return texts.Subscribe(ctx, b, group, func(context.Context, *wrapperspb.StringValue) error { return nil }, pubsub.WithLimit(1))
	}
	first := open("memory://shares?partitions=2&retention=10")
	second := open("memory://shares")
	if err := texts.Publish(ctx, first, wrapperspb.String("x")); err != nil {
		t.Fatal(err)
	}
	if err := one(second, "a"); err != nil {
		t.Error(err)
	}
	if _, err := pubsub.Open("memory://shares?partitions=3"); err == nil || !strings.Contains(err.Error(), "partitions=2") {
		t.Errorf("opened with another number of partitions: %v", err)
	}
	for range 2 {
		if err := first.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := one(first, "b"); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := one(second, "b"); err != nil {
		t.Errorf("closing one closed the other: %v", err)
	}
	if err := second.Close(ctx); err != nil {
		t.Error(err)
	}
	third := open("memory://shares?partitions=3")
	waiting, stop := context.WithCancel(ctx)
	if err := third.Subscribe(waiting, "texts", "c", func(context.Context, *pubsub.Delivery) error {
		t.Error("a new broker has messages of the old one")
		return nil
	}, pubsub.WithReady(stop)); err != nil {
		t.Error(err)
	}
	if err := third.Close(ctx); err != nil {
		t.Error(err)
	}
}
