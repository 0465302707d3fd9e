package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
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
	wait.Until(t, "the messages to be in the hands of the broker", func() bool { return kafka.Waiting(b) >= waiting+len(msgs) || len(result) > 0 })
	return result
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
