package kafka_test

import (
	"context"
	"errors"
	"fmt"
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
	k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: -1})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := b.Publish(ctx, message("t", "a", "3"))
	checkResults(t, err, pubsub.ErrUnknown)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Not Enough Replicas") {
		t.Errorf("error %q, want the deadline and its reason", err)
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
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	var want []string
	for i := range 50 {
		if i%10 == 5 {
			to := (k.Cluster().LeaderFor("t", 0) + 1) % 3
			if err := k.Cluster().MoveTopicPartition("t", 0, to); err != nil {
				t.Fatal(err)
			}
		}
		// Waiting for the metadata alone would take up to a second.
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if err := b.Publish(ctx, message("t", "k", fmt.Sprint(i))); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
		cancel()
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
			b := newBroker(t, []string{tt.addr}, kafka.WithPublishTimeout(time.Second))
			start := time.Now()
			err := b.Publish(t.Context(), message("t", "k", "v"), message("t", "k", "v"))
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			checkResults(t, err, pubsub.ErrNotSent, pubsub.ErrNotSent)
			for _, want := range []string{tt.addr, tt.want, "publish timeout of 1s", "check the "} {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// closedPort returns an address where nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
