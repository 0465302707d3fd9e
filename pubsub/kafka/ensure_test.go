package kafka_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// production returns a broker that creates no topics.
func production(t testing.TB, addrs []string, opts ...kafka.Option) *kafka.Broker {
	t.Helper()
	b, err := kafka.New(addrs, append([]kafka.Option{kafka.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

// refuses checks that err is one, and has these words.
func refuses(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Error("EnsureTopics accepts it")
		return
	}
	for _, want := range words {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
}

// In development topics are created as declared; in production they have to be
// so, and all that is missing or differs is named at once.
func TestEnsureTopics(t *testing.T) {
	t.Parallel()
	addrs, name := cluster(t)
	spec := pubsub.TopicSpec{Name: name, Partitions: 3, Replication: 1, Config: map[string]string{"retention.ms": "3600000", "cleanup.policy": "compact"}}
	prod, dev := production(t, addrs), newBroker(t, addrs, kafka.WithAutoCreate(5, 1))
	missing := spec
	missing.Name += ".missing"
	refuses(t, pubsub.EnsureTopics(t.Context(), prod, spec, missing), "topic "+name+" does not exist", "topic "+missing.Name+" does not exist",
		"create it with 3 partitions, replication factor 1, cleanup.policy=compact, retention.ms=3600000", "auto_create")

	if err := pubsub.EnsureTopics(t.Context(), dev, spec, pubsub.TopicSpec{Name: name + ".dead"}); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*kafka.Broker{dev, prod} {
		if err := pubsub.EnsureTopics(t.Context(), b, spec, pubsub.TopicSpec{Name: name + ".dead", Partitions: 5}); err != nil {
			t.Errorf("it is as declared: %v", err)
		}
		other := pubsub.TopicSpec{Name: name, Partitions: 12, Replication: 3, Config: map[string]string{
			"retention.ms": "1000", "cleanup.policy": "compact", "no.such.config": "1",
		}}
		err := pubsub.EnsureTopics(t.Context(), b, other, pubsub.TopicSpec{Name: name + ".dead", Partitions: 4})
		refuses(t, err, "topic "+name+" is not as declared", "it has 3 partitions, and 12 are declared",
			"it has replication factor 1, and 3 is declared", `retention.ms is "3600000", and "1000" is declared`, "no topic config no.such.config",
			"topic "+name+".dead is not as declared: it has 5 partitions, and 4 are declared")
		if strings.Contains(err.Error(), "cleanup.policy") {
			t.Errorf("error %q names what is as declared", err)
		}
	}
}

// What the cluster does not take is an error that gives its reason.
func TestEnsureTopicsRefused(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.PolicyViolation, Count: -1})
	err := pubsub.EnsureTopics(t.Context(), newBroker(t, k.Addrs()), pubsub.TopicSpec{Name: "t"})
	refuses(t, err, "ensure topics: topic t: ")
	if !errors.Is(err, kafkago.PolicyViolation) {
		t.Errorf("error %v, want a policy violation", err)
	}
}

// What passes does not keep a service from starting.
func TestEnsureTopicsTriesAgain(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	for _, key := range []kmsg.Key{kmsg.CreateTopics, kmsg.DescribeConfigs} {
		k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.NotController, Count: 1})
	}
	spec := pubsub.TopicSpec{Name: "t", Config: map[string]string{"retention.ms": "3600000"}}
	if err := pubsub.EnsureTopics(t.Context(), newBroker(t, k.Addrs()), spec); err != nil {
		t.Error(err)
	}
}

func TestEnsureTopicsUnreachable(t *testing.T) {
	t.Parallel()
	addr := closedPort(t)
	b := production(t, []string{addr}, kafka.WithConnectTimeout(200*time.Millisecond))
	start := time.Now()
	refuses(t, pubsub.EnsureTopics(t.Context(), b, pubsub.TopicSpec{Name: "t"}, pubsub.TopicSpec{Name: "u"}), addr, "check the address", "connect timeout of 200ms")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	closeBroker(t, b)
	if err := pubsub.EnsureTopics(t.Context(), b, pubsub.TopicSpec{Name: "t"}); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("EnsureTopics = %v, want ErrClosed", err)
	}
}
