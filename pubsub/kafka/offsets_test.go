package kafka_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// What is published after the first member of a new group was ready is not
// skipped, though that one has gone without having seen a message.
func TestStartLastIsCommittedAtOnce(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs())
	l := newLedger()
	if err := b.Publish(t.Context(), numbered("t", 0, 10, 10)...); err != nil {
		t.Fatal(err)
	}
	joined(t, b, "t", "g", l.handle, pubsub.WithStart(pubsub.Last)).leave()
	if err := b.Publish(t.Context(), numbered("t", 10, 10, 10)...); err != nil {
		t.Fatal(err)
	}
	joined(t, b, "t", "g", l.handle, pubsub.WithStart(pubsub.Last))
	l.await(t, 10)
	if l.times[9] != 0 || l.times[10] != 1 {
		t.Errorf("handled %v", l.times)
	}
}

// A partition that is new is read from its first message, wherever the group
// began.
func TestNewPartitionsAreRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		group string
		start pubsub.Start
	}{{"g", pubsub.First}, {"g", pubsub.Last}, {"", pubsub.Last}} {
		t.Run(fmt.Sprint(tt.group, tt.start), func(t *testing.T) {
			t.Parallel()
			addrs, topic := cluster(t)
			b := newBroker(t, addrs, kafka.WithAutoCreate(1, 1), kafka.WithGrowPause(20*time.Millisecond))
			l := newLedger()
			m := joined(t, b, topic, tt.group, l.handle, pubsub.WithStart(tt.start))
			addPartitions(t, addrs, topic, 3)
			c := &kafkago.Client{Addr: kafkago.TCP(addrs...), Transport: &kafkago.Transport{MetadataTTL: 10 * time.Millisecond}}
			for p := range 3 {
				wait.Until(t, "the new partition to take a message", func() bool {
					r, err := c.Produce(t.Context(), &kafkago.ProduceRequest{
						Topic: topic, Partition: p, RequiredAcks: kafkago.RequireAll,
						Records: kafkago.NewRecordReader(kafkago.Record{Value: kafkago.NewBytes([]byte(fmt.Sprint(p)))}),
					})
					return err == nil && r.Error == nil
				})
			}
			c.Transport.(*kafkago.Transport).CloseIdleConnections()
			l.await(t, 3)
			m.leave()
		})
	}
}

// Members of one group with different topics: whoever spreads the partitions sees
// those that are new of each.
func TestNewPartitionsOfSharedGroup(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	b := newBroker(t, addrs, kafka.WithAutoCreate(1, 1), kafka.WithGrowPause(20*time.Millisecond))
	topics := []string{topic + ".a", topic + ".b"}
	var members []*member
	for _, name := range topics {
		members = append(members, joined(t, b, name, topic, newLedger().handle))
	}
	for n, name := range slices.Backward(topics) {
		addPartitions(t, addrs, name, 3)
		wait.Until(t, "the new partitions to be shared out", func() bool {
			for _, s := range pubsub.Subscriptions() {
				if s.Topic == name {
					return len(s.Partitions) == 3
				}
			}
			return false
		})
		members[n].leave()
	}
}

func TestRetentionIsReported(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	l := newLedger()
	var logged wait.Log
	logger := pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil)))
	if err := b.Publish(t.Context(), numbered("t", 0, 10, 3)...); err != nil {
		t.Fatal(err)
	}
	m := joined(t, b, "t", "g", l.handle)
	l.await(t, 10)
	m.leave()

	if err := b.Publish(t.Context(), numbered("t", 10, 90, 3)...); err != nil {
		t.Fatal(err)
	}
	if err := k.Cluster().DeleteRecords("t", 0, 50); err != nil {
		t.Fatal(err)
	}
	m = joined(t, b, "t", "g", l.handle, logger)
	l.await(t, 60)
	m.leave()
	for _, want := range []string{"deleted before they were handled", "partition=0", "from=10", "to=49", "lost=40"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, logged.String())
		}
	}
	if l.times[9] != 1 || l.times[49] != 0 || l.times[50] != 1 {
		t.Errorf("handled %v", l.times)
	}
}

func TestTopicMadeAnew(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	l := newLedger()
	var logged wait.Log
	joined(t, b, "t", "", l.handle, pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	if err := b.Publish(t.Context(), numbered("t", 0, 10, 3)...); err != nil {
		t.Fatal(err)
	}
	l.await(t, 10)
	if err := k.Cluster().DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), numbered("t", 10, 5, 3)...); err != nil {
		t.Fatal(err)
	}
	l.await(t, 15)
	if !strings.Contains(logged.String(), "starts again at the oldest") {
		t.Errorf("the log does not say so:\n%s", logged.String())
	}
}

// A partition whose last records were compacted away is read to its end.
func TestCompactedTopic(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	if err := k.Cluster().CreateTopic("t", 1, map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": "1", "min.cleanable.dirty.ratio": "0"}); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, k.Addrs())
	for i := range 20 {
		if err := b.Publish(t.Context(), numbered("t", 5*i, 5, 5)...); err != nil {
			t.Fatal(err)
		}
	}
	k.Cluster().Compact()
	l := newLedger()
	joined(t, b, "t", "g", l.handle, pubsub.WithWindow(10))
	if err := b.Publish(t.Context(), message("t", "new", "1000")); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the last message", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.times[1000] == 1 })
	if handled, _ := l.count(); handled >= 101 {
		t.Errorf("nothing was compacted, %d messages", handled)
	}
}
