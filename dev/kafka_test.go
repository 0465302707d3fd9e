package dev_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/dev"
)

func startKafka(t testing.TB, opts ...dev.Option) *dev.Kafka {
	t.Helper()
	k, err := dev.StartKafka(deadline(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func client(t testing.TB, k *dev.Kafka) *kafkago.Client {
	t.Helper()
	transport := &kafkago.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafkago.Client{Addr: kafkago.TCP(k.Addrs()...), Transport: transport}
}

func produce(t testing.TB, k *dev.Kafka, topic, value string) {
	t.Helper()
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	w := &kafkago.Writer{
		Addr: kafkago.TCP(k.Addrs()...), Topic: topic, Transport: transport,
		BatchTimeout: time.Millisecond, AllowAutoTopicCreation: true, RequiredAcks: kafkago.RequireAll,
	}
	if err := w.WriteMessages(deadline(t), kafkago.Message{Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// garble sends what is no request, and waits until the broker hangs up.
func garble(t testing.TB, k *dev.Kafka) {
	t.Helper()
	conn, err := net.Dial("tcp", k.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err = conn.Write([]byte{0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 0, 0, 1, 'x', 0xff}); err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
}

// count returns how many messages a topic has in its first partitions.
func count(t testing.TB, k *dev.Kafka, topic string, partitions int) (total int64) {
	t.Helper()
	var requests []kafkago.OffsetRequest
	for p := range partitions {
		requests = append(requests, kafkago.LastOffsetOf(p))
	}
	offsets, err := client(t, k).ListOffsets(deadline(t), &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: requests}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range offsets.Topics[topic] {
		if p.Error != nil {
			t.Fatal(p.Error)
		}
		total += p.LastOffset
	}
	return total
}

func TestKafkaKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "folder")
	began := time.Now()
	k := startKafka(t, dev.WithDataDir(dir))
	if up := time.Since(began); up > 5*time.Second { // 5 ms on a machine with nothing else to do
		t.Errorf("up in %v", up)
	}
	produce(t, k, "t", "hello")
	if _, err := dev.StartKafka(deadline(t), dev.WithDataDir(dir)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second broker on the folder: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if total := count(t, startKafka(t, dev.WithDataDir(dir)), "t", 6); total != 1 { // 6 is the default number of partitions
		t.Errorf("%d messages after a restart, want 1", total)
	}
}

// One folder serves both, as the command line does it.
func TestKafkaAndEtcdShareAFolder(t *testing.T) {
	t.Parallel()
	dir := dev.WithDataDir(t.TempDir())
	startEtcd(t, dir)
	startKafka(t, dir)
}

func TestKafkaAddress(t *testing.T) {
	t.Parallel()
	addr := free(t)
	for range 2 { // the port is free again after Close
		k := startKafka(t, dev.WithAddress(addr))
		if got := k.URL(); got != "kafka://"+addr {
			t.Errorf("URL is %s, want kafka://%s", got, addr)
		}
		produce(t, k, "t", "hello")
		if _, _, err := k.Cluster().AddNode(-1, 0); err != nil { // listens elsewhere
			t.Error(err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKafkaBrokersAndPartitions(t *testing.T) {
	t.Parallel()
	k := startKafka(t, dev.WithBrokers(3), dev.WithPartitions(4))
	produce(t, k, "t", "hello")
	meta, err := client(t, k).Metadata(deadline(t), &kafkago.MetadataRequest{Topics: []string{"t"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(k.Addrs()) != 3 || len(meta.Brokers) != 3 || len(meta.Topics) != 1 || len(meta.Topics[0].Partitions) != 4 {
		t.Errorf("%v has %+v", k.Addrs(), meta)
	}
}

func TestKafkaFaults(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	k.Cluster().ControlKey(kmsg.Metadata.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		res := req.ResponseKind().(*kmsg.MetadataResponse)
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic, topic.ErrorCode = new("t"), kerr.TopicAuthorizationFailed.Code
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})
	meta, err := client(t, k).Metadata(deadline(t), &kafkago.MetadataRequest{Topics: []string{"t"}})
	if err != nil || len(meta.Topics) != 1 || meta.Topics[0].Error == nil {
		t.Errorf("the fault does not show: %+v, %v", meta, err)
	}
}

func TestKafkaFolderIsBroken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := startKafka(t, dev.WithDataDir(dir))
	produce(t, k, "t", "hello")
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kafka", "topics.json"), []byte("no JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the failed start lets go of the folder
		if _, err := dev.StartKafka(deadline(t), dev.WithDataDir(dir)); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "choose") {
			t.Errorf("a broker with a broken folder: %v", err)
		}
	}
}
