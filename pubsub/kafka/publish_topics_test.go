package kafka_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

func TestUnknownTopic(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b, err := kafka.New(k.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	check := func(t *testing.T, err error) {
		t.Helper()
		for _, want := range []string{"topic nowhere does not exist", "WithAutoCreate"} {
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("error %q lacks %q", err, want)
			}
		}
	}
	t.Run("publish", func(t *testing.T) {
		t.Parallel()
		err := b.Publish(t.Context(), message("nowhere", "k", "v"))
		checkResults(t, err, pubsub.ErrRejected)
		check(t, err)
	})
	t.Run("subscribe", func(t *testing.T) {
		t.Parallel()
		check(t, b.Subscribe(t.Context(), "nowhere", "g", func(context.Context, *pubsub.Delivery) error { return nil }))
	})
	t.Run("created meanwhile", func(t *testing.T) {
		t.Parallel()
		b, err := kafka.New(k.Addrs(), kafka.WithUnknownFor(wait.Patience))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeBroker(t, b) })
		result := make(chan error, 1)
		go func() { result <- b.Publish(t.Context(), message("late", "k", "v")) }()
		if err := k.Cluster().CreateTopic("late", 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, result); err != nil {
			t.Error(err)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		if err := k.Cluster().CreateTopic("gone", 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), message("gone", "k", "v")); err != nil {
			t.Fatal(err)
		}
		if err := k.Cluster().DeleteTopic("gone"); err != nil {
			t.Fatal(err)
		}
		checkResults(t, b.Publish(t.Context(), message("gone", "k", "v")), pubsub.ErrRejected)
	})
}

func TestAutoCreate(t *testing.T) {
	t.Parallel()
	k := startKafka(t, dev.WithPartitions(5))
	for _, tt := range []struct{ topic, query string }{
		{"three", "?auto_create=3&replication=1"},
		{"default", "?auto_create=0"},
	} {
		b, err := pubsub.Open(k.URL() + tt.query)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), message(tt.topic, "k", "v")); err != nil {
			t.Error(err)
		}
		closeBroker(t, b)
	}
	if n := len(k.Cluster().PartitionInfos("three")); n != 3 {
		t.Errorf("%d partitions, want 3", n)
	}
	if n := len(k.Cluster().PartitionInfos("default")); n != 5 {
		t.Errorf("%d partitions, want the broker's default of 5", n)
	}
}

// TestPartitions checks keys against Kafka's Java client: the hashes are those
// of its own test (UtilsTest.testMurmur2).
func TestPartitions(t *testing.T) {
	t.Parallel()
	const partitions = 16
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(partitions, 1))
	hashes := map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	}
	want := make([][]string, partitions)
	for key, hash := range hashes {
		if err := b.Publish(t.Context(), message("keys", key, key)); err != nil {
			t.Fatal(err)
		}
		p := (hash & 0x7fffffff) % partitions
		want[p] = append(want[p], key)
	}
	got := logOf(t, k, "keys")
	for i := range got {
		slices.Sort(got[i])
		slices.Sort(want[i])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	for range partitions {
		if err := b.Publish(t.Context(), message("keyless", "", "v")); err != nil {
			t.Fatal(err)
		}
	}
	for p, values := range logOf(t, k, "keyless") {
		if len(values) != 1 {
			t.Errorf("partition %d has %d of %d messages without a key", p, len(values), partitions)
		}
	}
}

func TestPublishUsesNewPartitions(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1), kafka.WithGrowPause(time.Millisecond))
	if err := b.Publish(t.Context(), message("t", "", "v")); err != nil {
		t.Fatal(err)
	}
	addPartitions(t, k.Addrs(), "t", 2)
	wait.Until(t, "messages in the new partition", func() bool {
		if err := b.Publish(t.Context(), message("t", "", "v")); err != nil {
			t.Fatal(err)
		}
		return k.Cluster().PartitionInfos("t")[1].HighWatermark > 0
	})
}
