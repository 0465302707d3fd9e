package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// holdProduce lets the next produce request wait until release is called. held
// is closed when it has come; requests counts all of them.
func holdProduce(t *testing.T, k *dev.Kafka) (held <-chan struct{}, release func(), requests *atomic.Int32) {
	t.Helper()
	came, goOn := make(chan struct{}), make(chan struct{})
	requests = new(atomic.Int32)
	k.Cluster().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if requests.Add(1) == 1 {
			close(came)
			k.Cluster().SleepControl(func() { <-goOn })
		}
		return nil, nil, false
	})
	release = sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	return came, release, requests
}

// publishing publishes in the background, and returns when the messages are in
// the broker's hands.
func publishing(t *testing.T, ctx context.Context, b *kafka.Broker, msgs ...*pubsub.Message) <-chan error {
	t.Helper()
	waiting := kafka.Waiting(b)
	result := make(chan error, 1)
	go func() { result <- b.Publish(ctx, msgs...) }()
	until(t, func() bool { return kafka.Waiting(b) >= waiting+len(msgs) || len(result) > 0 })
	return result
}

// until waits for a condition that nothing signals.
func until(t testing.TB, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for tick := time.Tick(time.Millisecond); !done(); {
		select {
		case <-tick:
		case <-deadline:
			t.Fatal("waited in vain")
		}
	}
}

// patience turns a hang into a failure.
const patience = 30 * time.Second

// receive waits for what comes from c.
func receive[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
	return v
}

func message(topic, key, value string) *pubsub.Message {
	m := &pubsub.Message{Topic: topic, Value: []byte(value)}
	if key != "" {
		m.Key = []byte(key)
	}
	return m
}

// logOf returns the values in a topic, by partition.
func logOf(t *testing.T, k *dev.Kafka, topic string) [][]string {
	t.Helper()
	b := newBroker(t, k.Addrs())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n, want := 0, 0
	log := make([][]string, len(k.Cluster().PartitionInfos(topic)))
	for _, p := range k.Cluster().PartitionInfos(topic) {
		want += int(p.HighWatermark)
	}
	if want == 0 {
		return log
	}
	err := b.Subscribe(ctx, topic, "", func(_ context.Context, d *pubsub.Delivery) error {
		log[d.Partition] = append(log[d.Partition], string(d.Value))
		if n++; n == want {
			cancel()
		}
		return nil
	}, pubsub.WithStart(pubsub.First), pubsub.WithConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestPublishBatchesWhileARequestIsUnderWay(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	held, release, requests := holdProduce(t, k)
	first := publishing(t, t.Context(), b, message("t", "k", "0"))
	receive(t, held)
	var rest []<-chan error
	var want []string
	for i := range 100 {
		rest = append(rest, publishing(t, t.Context(), b, message("t", "k", fmt.Sprint(i+1))))
	}
	release()
	for _, result := range append(rest, first) {
		if err := receive(t, result); err != nil {
			t.Error(err)
		}
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests for 1 message and 100 that came meanwhile, want 2", n)
	}
	for i := range 101 {
		want = append(want, fmt.Sprint(i))
	}
	if diff := cmp.Diff([][]string{want}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}
}

func TestPublishRejectedReturnsWhatIsBehind(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	held, release, _ := holdProduce(t, k)
	first := publishing(t, t.Context(), b, message("t", "a", "a1"))
	receive(t, held)
	behind := publishing(t, t.Context(), b, message("t", "a", "a2"), message("t", "b", "b1"), message("t", "", "none"))
	k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord})
	release()

	err := receive(t, first)
	checkResults(t, err, pubsub.ErrRejected)
	if err = receive(t, behind); err != nil {
		checkResults(t, err, pubsub.ErrNotSent, nil, nil)
		if !strings.Contains(err.Error(), "earlier message of its key") {
			t.Errorf("error %q does not say why", err)
		}
	} else {
		t.Error("a message overtook a rejected one of its key")
	}
	if diff := cmp.Diff([][]string{{"b1", "none"}}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}
}

// When the server says which record of a batch is bad, only that one is rejected,
// and what is behind it with its key is not sent. The others lose nothing.
func TestPublishOneBadRecord(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	held, goOn := make(chan struct{}), make(chan struct{})
	requests := 0
	k.Cluster().ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		k.Cluster().KeepControl()
		switch requests++; requests {
		case 1:
			close(held)
			k.Cluster().SleepControl(func() { <-goOn })
		case 2: // of a, bad, bad again, c, none
			request := r.(*kmsg.ProduceRequest)
			bad := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			bad.RelativeOffset = 1
			partition := kmsg.NewProduceResponseTopicPartition()
			partition.ErrorCode = kerr.InvalidRecord.Code
			partition.ErrorRecords = append(partition.ErrorRecords, bad)
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic = request.Topics[0].Topic
			topic.Partitions = append(topic.Partitions, partition)
			response := request.ResponseKind().(*kmsg.ProduceResponse)
			response.Topics = append(response.Topics, topic)
			return response, nil, true
		}
		return nil, nil, false
	})
	first := publishing(t, t.Context(), b, message("t", "first", "first"))
	receive(t, held)
	batch := publishing(t, t.Context(), b, message("t", "a", "a"), message("t", "bad", "bad"), message("t", "bad", "bad again"), message("t", "c", "c"), message("t", "", "none"))
	behind := publishing(t, t.Context(), b, message("t", "a", "a2"), message("t", "bad", "bad 3"))
	close(goOn)
	if err := receive(t, first); err != nil {
		t.Error(err)
	}
	checkResults(t, receive(t, batch), nil, pubsub.ErrRejected, pubsub.ErrNotSent, nil, nil)
	checkResults(t, receive(t, behind), nil, pubsub.ErrNotSent)
	if diff := cmp.Diff([][]string{{"first", "a", "c", "none", "a2"}}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}
}

// Within a call, too, a message does not overtake an earlier one of its key that
// has failed by the time its turn comes.
func TestPublishFailedBeforeItsTurn(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	if err := k.Cluster().CreateTopic("t", 1, nil); err != nil {
		t.Fatal(err)
	}
	b, err := kafka.New(k.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	defer closeBroker(t, b)
	k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord})
	err = b.Publish(t.Context(),
		message("t", "a", "a1"), message("unknown", "a", "it takes a second to find out"), message("t", "a", "a2"), message("t", "b", "b1"), message("unknown", "a", "a3"))
	checkResults(t, err, pubsub.ErrRejected, pubsub.ErrRejected, pubsub.ErrNotSent, nil, pubsub.ErrRejected)
	if diff := cmp.Diff([][]string{{"b1"}}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}
}

// checkResults checks the results of a Publish call against errors.Is.
func checkResults(t *testing.T, err error, want ...error) {
	t.Helper()
	failed, ok := errors.AsType[*pubsub.PublishError](err)
	if !ok || len(failed.Results) != len(want) {
		t.Errorf("Publish = %v, want a *PublishError with %d results", err, len(want))
		return
	}
	for i, err := range failed.Results {
		if !errors.Is(err, want[i]) {
			t.Errorf("result %d: %v, want %v", i, err, want[i])
		}
	}
}

func TestPublishCancelled(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	held, release, _ := holdProduce(t, k)
	ctx, cancel := context.WithCancel(t.Context())
	inRequest := publishing(t, ctx, b, message("t", "a", "a1"))
	receive(t, held)
	queued := publishing(t, ctx, b, message("t", "a", "a2"), message("t", "b", "b1"))
	stays := publishing(t, t.Context(), b, message("t", "a", "a3"))
	cancel()
	checkResults(t, receive(t, inRequest), pubsub.ErrUnknown)
	checkResults(t, receive(t, queued), pubsub.ErrNotSent, pubsub.ErrNotSent)
	release()
	if err := receive(t, stays); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([][]string{{"a1", "a3"}}, logOf(t, k, "t")); diff != "" {
		t.Error(diff)
	}
}

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
	if diff := cmp.Diff([][]string{{"1", "1", "2"}}, logOf(t, k, "t")); diff != "" {
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
	until(t, func() bool { return !kafka.InFlight(b) })
	cancel()
	checkResults(t, receive(t, result), pubsub.ErrNotSent)
}

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
			b := newBroker(t, []string{tt.addr}, kafka.WithPublishTimeout(300*time.Millisecond))
			start := time.Now()
			err := b.Publish(t.Context(), message("t", "k", "v"), message("t", "k", "v"))
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			checkResults(t, err, pubsub.ErrNotSent, pubsub.ErrNotSent)
			for _, want := range []string{tt.addr, tt.want, "publish timeout of 300ms", "check the "} {
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
		result := make(chan error)
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
		until(t, func() bool {
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
	until(t, func() bool {
		if err := b.Publish(t.Context(), message("t", "", "v")); err != nil {
			t.Fatal(err)
		}
		return k.Cluster().PartitionInfos("t")[1].HighWatermark > 0
	})
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
