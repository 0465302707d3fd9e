package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

const (
	traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traceState  = "vendor=a=b,other=c" // foreign signs are left alone
)

// cluster returns the servers that KAFKA_BROKERS names, or one in this process,
// and a topic of our own in it.
func cluster(t testing.TB) (addrs []string, topic string) {
	t.Helper()
	topic = fmt.Sprintf("%s.%08x", strings.ReplaceAll(t.Name(), "/", "."), rand.Uint32())
	if env := os.Getenv("KAFKA_BROKERS"); env != "" {
		return strings.Split(env, ","), topic
	}
	return startKafka(t).Addrs(), topic
}

// kcat runs kcat, which speaks by librdkafka, and returns its output.
func kcat(t *testing.T, addrs []string, stdin string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("kcat is not installed (apt-get install kcat); .ci/run does that")
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{"-q", "-b", strings.Join(addrs, ",")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kcat %q: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

// librdkafka reads what we publish: key, value, tombstone, CloudEvents
// attributes and the W3C trace context, as they are; compressed, too.
func TestKcatReads(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	b := newBroker(t, addrs, kafka.WithAutoCreate(1, 1), kafka.WithCompression("zstd"))
	m := &pubsub.Message{
		Topic: topic, ID: "id-1", Type: "greeter.v1.Greeted", Source: "/greeter", Subject: "ada", ContentType: "application/json",
		Key: []byte("ada"), Value: []byte(`"ada"`), Time: time.Date(2026, 11, 24, 9, 0, 0, 5e6, time.UTC),
		Header: pubsub.Header{{Key: "traceparent", Value: []byte(traceParent)}, {Key: "tracestate", Value: []byte(traceState)}},
	}
	gone := &pubsub.Message{Topic: topic, ID: "id-2", Key: []byte("ada"), Time: m.Time}
	empty := &pubsub.Message{Topic: topic, ID: "id-3", Value: []byte{}, Time: m.Time}
	for _, m := range []*pubsub.Message{m, gone, empty} {
		if err := b.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	got := kcat(t, addrs, "", "-C", "-t", topic, "-o", "beginning", "-e", "-f", `%o %K %k %S %s %T %h\n`)
	ms := m.Time.UnixMilli()
	want := fmt.Sprintf(`0 3 ada 5 "ada" %[1]d ce_specversion=1.0,ce_source=/greeter,ce_type=greeter.v1.Greeted,ce_subject=ada,content-type=application/json,ce_id=id-1,ce_time=2026-11-24T09:00:00.005Z,traceparent=%[2]s,tracestate=%[3]s
1 3 ada -1  %[1]d ce_specversion=1.0,ce_id=id-2,ce_time=2026-11-24T09:00:00.005Z
2 -1  0  %[1]d ce_specversion=1.0,ce_id=id-3,ce_time=2026-11-24T09:00:00.005Z
`, ms, traceParent, traceState)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What librdkafka writes is an event of ours, if it has the headers of one, in
// each compression; and with its murmur2 it puts a key where we do.
func TestKcatWrites(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	b := newBroker(t, addrs, kafka.WithAutoCreate(7, 1))
	names := pubsub.NewTopic[wrapperspb.StringValue](topic, pubsub.WithKey((*wrapperspb.StringValue).GetValue))
	partitions := make(map[string][]int) // by key
	var ids []string
	letters := strings.Split("abcdefghijklmnopqrst", "")
	for _, name := range letters {
		if err := names.Publish(t.Context(), b, wrapperspb.String(name)); err != nil {
			t.Fatal(err)
		}
	}
	for i, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		var lines strings.Builder
		for _, name := range letters {
			fmt.Fprintf(&lines, "%[1]s|%[1]q\n", name)
		}
		kcat(t, addrs, lines.String(), "-P", "-t", topic, "-K", "|", "-z", compression, "-X", "partitioner=murmur2_random",
			"-H", fmt.Sprint("ce_id=from-kcat-", i), "-H", "ce_specversion=1.0", "-H", "ce_type=google.protobuf.StringValue", "-H", "content-type=application/json",
			"-H", "traceparent="+traceParent, "-H", "tracestate="+traceState)
	}
	done := make(chan error, 1)
	go func() {
		done <- names.Subscribe(t.Context(), b, topic, func(ctx context.Context, m *wrapperspb.StringValue) error {
			d := pubsub.DeliveryFrom(ctx)
			if string(d.Key) != m.GetValue() {
				t.Errorf("event %v has key %q", m, d.Key)
			}
			partitions[m.GetValue()] = append(partitions[m.GetValue()], d.Partition)
			if strings.HasPrefix(d.ID, "from-kcat-") {
				ids = append(ids, d.ID)
				if string(d.Header.Get("traceparent")) != traceParent || string(d.Header.Get("tracestate")) != traceState {
					t.Errorf("header %q", d.Header)
				}
			}
			return nil
		}, pubsub.WithConcurrency(1), pubsub.WithLimit(6*len(letters)))
	}()
	if err := receive(t, done); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 5*len(letters) {
		t.Errorf("%d events came from kcat, want %d", len(ids), 5*len(letters))
	}
	for name, seen := range partitions {
		if len(slices.Compact(seen)) != 1 {
			t.Errorf("key %s is in partitions %v", name, seen)
		}
	}
}

// Messages of a producer that knows nothing of CloudEvents are readable, and
// ours are by a consumer that is none of ours.
func TestForeignClients(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	ours := &pubsub.Message{
		Topic: "t", ID: "id", Type: "test.v1.Happened", Source: "here", Subject: "it", ContentType: "application/protobuf",
		Key: []byte("key"), Value: []byte{}, Time: time.Date(2026, 11, 23, 9, 0, 0, 123456789, time.UTC),
		Header: pubsub.Header{{Key: "traceparent", Value: []byte("00-1")}, {Key: "x", Value: []byte("1")}, {Key: "x", Value: []byte("2")}},
	}
	if err := b.Publish(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	w := &kafkago.Writer{Addr: kafkago.TCP(k.Addrs()...), Topic: "t", BatchTimeout: time.Millisecond, Transport: &kafkago.Transport{}}
	defer w.Transport.(*kafkago.Transport).CloseIdleConnections()
	defer w.Close()
	if err := w.WriteMessages(t.Context(), kafkago.Message{Value: []byte("plain"), Headers: []kafkago.Header{{Key: "h", Value: []byte("v")}}}); err != nil {
		t.Fatal(err)
	}

	r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: k.Addrs(), Topic: "t", MaxWait: 10 * time.Millisecond})
	defer r.Close()
	m, err := r.ReadMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var headers []string
	for _, h := range m.Headers {
		headers = append(headers, h.Key+": "+string(h.Value))
	}
	want := []string{
		"ce_specversion: 1.0", "ce_source: here", "ce_type: test.v1.Happened", "ce_subject: it", "content-type: application/protobuf",
		"ce_id: id", "ce_time: 2026-11-23T09:00:00.123456789Z", "traceparent: 00-1", "x: 1", "x: 2",
	}
	if diff := cmp.Diff(want, headers); diff != "" {
		t.Error(diff)
	}
	if string(m.Key) != "key" || !m.Time.Equal(ours.Time.Truncate(time.Millisecond)) {
		t.Errorf("key %q, time %v", m.Key, m.Time)
	}

	got := make(chan *pubsub.Message, 2)
	joined(t, b, "t", "g", func(_ context.Context, d *pubsub.Delivery) error {
		got <- d.Message
		return nil
	}, pubsub.WithConcurrency(1))
	if diff := cmp.Diff(ours, receive(t, got)); diff != "" {
		t.Error(diff)
	}
	plain := receive(t, got)
	if time.Since(plain.Time) > time.Minute {
		t.Errorf("the time is %v, not that of the record", plain.Time)
	}
	plain.Time = time.Time{}
	if diff := cmp.Diff(&pubsub.Message{Topic: "t", Value: []byte("plain"), Header: pubsub.Header{{Key: "h", Value: []byte("v")}}}, plain); diff != "" {
		t.Error(diff)
	}
}
