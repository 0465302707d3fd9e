package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

func TestPublishAckLost(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	// kfake appends the records, and then says that it did not.
	k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend})
	for _, v := range []string{"1", "2"} {
		if err := b.Publish(t.Context(), message("t", "a", v)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([][]string{{"1", "2"}}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}

	// With no time for another try the outcome is unknown.
	fault := k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: -1})
	ctx, cancel := context.WithCancelCause(t.Context())
	result := publishing(t, ctx, b, message("t", "a", "3"))
	if err := fault.Wait(t.Context(), 2); err != nil { // so there was an answer to the first
		t.Fatal(err)
	}
	over := errors.New("no time is left")
	cancel(over)
	err := receive(t, result)
	checkResults(t, err, pubsub.ErrUnknown)
	if !errors.Is(err, over) || !strings.Contains(err.Error(), "Not Enough Replicas") {
		t.Errorf("error %q, want what ended it and its reason", err)
	}
}

func TestPublishNotAppendedIsNotSent(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	fault := k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	ctx, cancel := context.WithCancel(t.Context())
	result := publishing(t, ctx, b, message("t", "a", "1"))
	if err := fault.Wait(t.Context(), 8); err != nil { // by now it waits long between tries
		t.Fatal(err)
	}
	wait.Until(t, "no request to be under way", func() bool { return !kafka.InFlight(b) })
	cancel()
	checkResults(t, receive(t, result), pubsub.ErrNotSent)
}

func TestPublishMovedLeader(t *testing.T) {
	t.Parallel()
	k := startKafka(t, dev.WithBrokers(3))
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1), kafka.WithMetadataTTL(time.Hour)) // who waits for that gets nowhere
	var want []string
	for i := range 50 {
		if i%10 == 5 {
			to := (k.Cluster().LeaderFor("t", 0) + 1) % 3
			if err := k.Cluster().MoveTopicPartition("t", 0, to); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Publish(t.Context(), message("t", "k", fmt.Sprint(i))); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		want = append(want, fmt.Sprint(i))
	}
	if diff := cmp.Diff([][]string{want}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}
}

func TestPublishUnreachable(t *testing.T) {
	t.Parallel()
	closed := closedPort(t)
	silent := silentPort(t)
	for _, tt := range []struct{ name, addr, want string }{
		{"nobody listens", closed, "connection refused"},
		{"no answer", silent, "deadline exceeded"},
		{"no such host", "nowhere.invalid:9092", "nowhere.invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, []string{tt.addr}, kafka.WithPublishTimeout(3*time.Second))
			start := time.Now()
			err := b.Publish(t.Context(), message("t", "k", "v"), message("t", "k", "v"))
			if took := time.Since(start); took > 7*time.Second {
				t.Errorf("it took %v", took)
			}
			checkResults(t, err, pubsub.ErrNotSent, pubsub.ErrNotSent)
			for _, want := range []string{tt.addr, tt.want, "publish timeout of 3s", "check the "} {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// closedPort returns an address where nobody listens. Its port is below those that
// systems give away by themselves: nobody else gets it, nor does a connection to it
// meet itself, until somebody wants to listen there.
func closedPort(t testing.TB) string {
	t.Helper()
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
}

// silentPort returns an address where somebody listens and never answers.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
