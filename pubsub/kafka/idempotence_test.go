package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
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

// Answers are lost after the broker has appended, leaders move, and what is
// published is in the log once, and handled once, without Dedup.
func TestLostAnswersMakeNoDuplicates(t *testing.T) {
	t.Parallel()
	const total, keys = 2000, 50
	k := startKafka(t, dev.WithBrokers(3))
	b := newBroker(t, k.Addrs())
	l := newLedger()
	m := joined(t, b, "t", "g", l.handle)
	for n := 0; n < total; n += 200 {
		for _, lost := range []*kerr.Error{kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend} {
			k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: lost, Count: 2})
		}
		if n%600 == 400 {
			k.Cluster().ShufflePartitionLeaders()
		}
		if err := b.Publish(t.Context(), numbered("t", n, 200, keys)...); err != nil {
			t.Fatal(err)
		}
	}
	l.await(t, total)
	m.leave()
	if inLog := inLog(k, "t"); inLog != total {
		t.Errorf("%d messages are in the log %d times", total, inLog)
	}
	if _, again := l.count(); again != 0 {
		t.Errorf("%d were handled again", again)
	}
}

func inLog(k *dev.Kafka, topic string) (n int64) {
	for _, p := range k.Cluster().PartitionInfos(topic) {
		n += p.HighWatermark
	}
	return n
}

// A cluster that gives no producer IDs cannot tell that a request is the same:
// the log holds messages twice, and Dedup has each handled once.
func TestLostAnswersWithoutProducerIDs(t *testing.T) {
	t.Parallel()
	const total, keys = 2000, 50
	k := startKafka(t)
	var log wait.Log
	k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ClusterAuthorizationFailed, Count: -1})
	b := newBroker(t, k.Addrs(), kafka.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	l := newLedger()
	m := joined(t, b, "t", "g", l.handle, pubsub.WithMiddleware(pubsub.Dedup(pubsub.NewDedupMemory(total, time.Hour))))
	k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 10})
	for n := 0; n < total; n += 200 {
		if err := b.Publish(t.Context(), numbered("t", n, 200, keys)...); err != nil {
			t.Fatal(err)
		}
	}
	all := inLog(k, "t")
	if _, err := k.Cluster().WaitGroupInfo(t.Context(), "g", func(g *kfake.GroupInfo) bool {
		committed := int64(0)
		for _, c := range g.Commits["t"] {
			committed += c.Offset
		}
		return committed == all
	}); err != nil {
		t.Fatal(err)
	}
	m.leave()
	if handled, again := l.count(); handled != total || again != 0 || all == total {
		t.Errorf("%d messages are in the log %d times, %d were handled, %d again", total, all, handled, again)
	}
	if n := strings.Count(log.String(), "IdempotentWrite"); n != 1 {
		t.Errorf("the log says %d times what to do:\n%s", n, log.String())
	}
	l.await(t, total)
}

// A message whose outcome stays unknown has used its number, and the next one
// must not be taken for it.
func TestUnknownOutcomeSwallowsNothing(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	if err := b.Publish(t.Context(), message("t", "a", "1")); err != nil {
		t.Fatal(err)
	}
	fault := k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: -1})
	ctx, cancel := context.WithCancel(t.Context())
	result := publishing(t, ctx, b, message("t", "a", "2"))
	if err := fault.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	cancel()
	checkResults(t, <-result, pubsub.ErrUnknown)
	fault.Remove()
	wait.Until(t, "the senders to have let go of it", func() bool { return kafka.Idle(b) }) // a message behind it is not sent
	if err := b.Publish(t.Context(), message("t", "a", "3")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"1", "2", "3"}}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}
}

// A server that has lost count is told new numbers, and nothing is lost.
func TestServerLosesCount(t *testing.T) {
	t.Parallel()
	for _, lost := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch} {
		k := startKafka(t)
		var log wait.Log
		b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1), kafka.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		if err := b.Publish(t.Context(), message("t", "a", "1")); err != nil {
			t.Fatal(err)
		}
		k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: lost})
		for _, v := range []string{"2", "3"} {
			if err := b.Publish(t.Context(), message("t", "a", v)); err != nil {
				t.Fatalf("%v: %v", lost, err)
			}
		}
		if diff := cmp.Diff([][]string{{"1", "2", "3"}}, logOf(t, k, "t")); diff != "" {
			t.Errorf("%v: %s", lost, diff)
		}
		if !strings.Contains(log.String(), "lost count") {
			t.Errorf("%v: the log does not say so:\n%s", lost, log.String())
		}
	}
}

// A producer ID that does not come for a while is waited for, and Publish ends
// with its context.
func TestProducerIDTakesLong(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	fault := k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
	ctx, cancel := context.WithCancel(t.Context())
	result := publishing(t, ctx, b, message("t", "a", "1"))
	if err := fault.Wait(t.Context(), 2); err != nil { // so there was an answer to the first
		t.Fatal(err)
	}
	cancel()
	err := receive(t, result)
	checkResults(t, err, pubsub.ErrNotSent)
	if err == nil || !strings.Contains(err.Error(), "producer ID") {
		t.Errorf("error %v does not say what is missing", err)
	}
	fault.Remove()
	wait.Until(t, "the senders to have let go of it", func() bool { return kafka.Idle(b) }) // a message behind it is not sent
	if err := b.Publish(t.Context(), message("t", "a", "2")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"2"}}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}
}

// Who leaves while the broker waits for a producer ID knows that nothing was sent,
// and nothing is.
func TestCancelledBeforeTheProducerID(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	held, goOn := make(chan struct{}), make(chan struct{})
	k.Cluster().ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		k.Cluster().DropControl()
		close(held)
		k.Cluster().SleepControl(func() { <-goOn })
		return nil, nil, false
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := publishing(t, ctx, b, message("t", "a", "1"))
	receive(t, held)
	cancel()
	checkResults(t, receive(t, result), pubsub.ErrNotSent)
	close(goOn)
	wait.Until(t, "the senders to have let go of it", func() bool { return kafka.Idle(b) }) // a message behind it is not sent
	if err := b.Publish(t.Context(), message("t", "a", "2")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"2"}}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}
}

// All partitions share a producer: a topic of many is no load for the cluster that
// gives the IDs.
func TestPartitionsShareProducerID(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	var asked atomic.Int64
	k.Cluster().ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		k.Cluster().KeepControl()
		asked.Add(1)
		return nil, nil, false
	})
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(8, 1))
	for i := range 40 {
		if err := b.Publish(t.Context(), message("t", fmt.Sprint("key", i), "v")); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d producer IDs were asked for", n)
	}
}
