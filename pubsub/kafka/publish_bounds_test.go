package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

func TestPublishSplitsWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	limit := "4000"
	if err := k.Cluster().CreateTopic("t", 1, map[string]string{"max.message.bytes": limit}); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, k.Addrs())
	held, release, _ := holdProduce(t, k)
	first := publishing(t, t.Context(), b, message("t", "k", "0"))
	receive(t, held)
	var msgs []*pubsub.Message
	want := []string{"0"}
	for i := range 20 {
		value := fmt.Sprintf("%01000d", i+1)
		want = append(want, value)
		msgs = append(msgs, message("t", "k", value))
	}
	many := publishing(t, t.Context(), b, msgs...)
	release()
	if err := errors.Join(receive(t, first), receive(t, many)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{want}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}

	// A message of its own that is too large is rejected, and says what to do.
	err := b.Publish(t.Context(), message("t", "k", strings.Repeat("x", 5000)))
	checkResults(t, err, pubsub.ErrRejected)
	if !strings.Contains(fmt.Sprint(err), "max.message.bytes") {
		t.Errorf("error %q does not name the remedy", err)
	}
}

func TestPublishBlocksWhenTheQueueIsFull(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	held, release, _ := holdProduce(t, k)
	first := publishing(t, t.Context(), b, message("t", "k", "0"))
	receive(t, held)
	large := strings.Repeat("x", 900_000)
	var full []<-chan error
	for kafka.Queued(b)+len(large) < 16<<20 {
		full = append(full, publishing(t, t.Context(), b, message("t", "k", large)))
	}
	queued := kafka.Queued(b)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	checkResults(t, b.Publish(ctx, message("t", "k", large)), pubsub.ErrNotSent)
	if n := kafka.Queued(b); n != queued {
		t.Errorf("the queue has grown from %d to %d bytes", queued, n)
	}
	blocked := make(chan error)
	go func() { blocked <- b.Publish(t.Context(), message("t", "k", large)) }()
	release()
	for _, result := range append(full, first, blocked) {
		if err := receive(t, result); err != nil {
			t.Error(err)
		}
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	for _, name := range []string{"gzip", "snappy", "lz4", "zstd"} {
		b, err := pubsub.Open(k.URL() + "?auto_create=1&compression=" + name)
		if err != nil {
			t.Fatal(err)
		}
		value := strings.Repeat("all work and no play ", 1000)
		if err := b.Publish(t.Context(), message(name, "k", value)); err != nil {
			t.Fatal(err)
		}
		closeBroker(t, b)
		if diff := cmp.Diff([][]string{{value}}, logOf(t, k, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPublishClose(t *testing.T) {
	t.Parallel()
	t.Run("flushes", func(t *testing.T) {
		t.Parallel()
		k := startKafka(t)
		b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
		held, release, _ := holdProduce(t, k)
		first := publishing(t, t.Context(), b, message("t", "k", "1"))
		receive(t, held)
		second := publishing(t, t.Context(), b, message("t", "k", "2"))
		closing := make(chan error)
		go func() { closing <- b.Close(t.Context()) }()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		wait.Until(t, "publishing to be refused", func() bool {
			err := b.Publish(ended, message("t", "k", "3"))
			checkResults(t, err, pubsub.ErrNotSent)
			return errors.Is(err, pubsub.ErrClosed)
		})
		release()
		if err := errors.Join(receive(t, first), receive(t, second), receive(t, closing)); err != nil {
			t.Error(err)
		}
	})
	t.Run("gives up", func(t *testing.T) {
		t.Parallel()
		k := startKafka(t)
		b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
		held, _, _ := holdProduce(t, k)
		first := publishing(t, t.Context(), b, message("t", "k", "1"))
		receive(t, held)
		second := publishing(t, t.Context(), b, message("t", "k", "2"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Close = %v", err)
		}
		checkResults(t, receive(t, first), pubsub.ErrUnknown)
		checkResults(t, receive(t, second), pubsub.ErrNotSent)
	})
}
