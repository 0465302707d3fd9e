// Package goldentest compiles the golden files of protoc-gen-micro together
// with what protoc-gen-go and protoc-gen-go-grpc generate beside them, and uses
// them as a program would. It is a package of its own so that the golden files
// can be written anew when the old ones do not compile.
package goldentest_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds a test; only a failure takes so long.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newRegistry(t *testing.T) resolver.Registry {
	t.Helper()
	reg := resolver.NewMemory()
	t.Cleanup(func() {
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
	})
	return reg
}

func newBroker(t *testing.T) pubsub.Broker {
	t.Helper()
	broker := pubsub.NewMemory()
	t.Cleanup(func() {
		if err := broker.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return broker
}

func options(reg resolver.Registry) []micro.Option {
	return []micro.Option{
		micro.WithRegistry(reg),
		micro.WithAddress("127.0.0.1:0"),
		micro.WithLogger(slog.New(slog.DiscardHandler)),
	}
}

// start runs s, and returns how to wait for the end that it comes to by itself.
// What is still running at the end of the test is stopped.
func start(t *testing.T, s *micro.Service) (wait func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-s.Ready():
	case <-done:
		t.Fatal(err)
	}
	return func() error {
		select {
		case <-done:
			return err
		case <-deadline(t).Done():
			return errors.New("still running")
		}
	}
}

func closing(t *testing.T, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
