package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// member is a Subscribe call in the background.
type member struct {
	t      testing.TB
	cancel context.CancelFunc
	ready  chan struct{}
	ended  chan struct{}
	err    error // once ended is closed
}

// join subscribes, and ends with the test if not before.
func join(t testing.TB, b pubsub.Broker, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) *member {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{t: t, cancel: cancel, ready: make(chan struct{}), ended: make(chan struct{})}
	opts = append([]pubsub.SubscribeOption{
		pubsub.WithReady(func() { close(m.ready) }),
		pubsub.WithSubscribeLogger(slog.New(slog.DiscardHandler)),
	}, opts...)
	go func() {
		defer close(m.ended)
		m.err = b.Subscribe(ctx, topic, group, h, opts...)
	}()
	t.Cleanup(func() {
		cancel()
		<-m.ended
	})
	return m
}

// joined is join, and returns when the member is ready.
func joined(t testing.TB, b pubsub.Broker, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) *member {
	t.Helper()
	m := join(t, b, topic, group, h, opts...)
	m.await()
	return m
}

func (m *member) await() {
	m.t.Helper()
	select {
	case <-m.ready:
	case <-m.ended:
		m.t.Fatalf("Subscribe = %v before it was ready", m.err)
	case <-time.After(patience):
		m.t.Fatal("Subscribe is not ready")
	}
}

func (m *member) leave() {
	m.t.Helper()
	m.cancel()
	receive(m.t, m.ended)
	if m.err != nil {
		m.t.Errorf("Subscribe = %v", m.err)
	}
}

// ledger records numbered messages, and what is wrong with them.
type ledger struct {
	mu    sync.Mutex
	times map[int]int    // how often each number was handled
	last  map[string]int // by key: the number handled last for the first time
	again int            // deliveries after the first one
	late  int            // first deliveries behind a later one of their key
	also  *ledger        // takes it down before
}

func newLedger() *ledger { return &ledger{times: make(map[int]int), last: make(map[string]int)} }

func (l *ledger) handle(ctx context.Context, d *pubsub.Delivery) error {
	n, err := strconv.Atoi(string(d.Value))
	if err != nil {
		return pubsub.Permanent(err)
	}
	if l.also != nil {
		if err := l.also.handle(ctx, d); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.times[n]++; l.times[n] > 1 {
		l.again++
	}
	if key := string(d.Key); key != "" && l.times[n] == 1 {
		if last, ok := l.last[key]; ok && n < last {
			l.late++
		}
		l.last[key] = n
	}
	return nil
}

// count returns how many numbers were handled, and how often one was handled
// again.
func (l *ledger) count() (handled, again int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.times), l.again
}

// await waits until n numbers were handled, and fails if one came out of order.
func (l *ledger) await(t testing.TB, n int) {
	t.Helper()
	until(t, func() bool { handled, _ := l.count(); return handled >= n })
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late > 0 {
		t.Errorf("%d messages out of order", l.late)
	}
}

// numbered returns messages from, from+1, … with one of so many keys each.
func numbered(topic string, from, n, keys int) []*pubsub.Message {
	msgs := make([]*pubsub.Message, n)
	for i := range msgs {
		msgs[i] = message(topic, fmt.Sprint("key", (from+i)%keys), fmt.Sprint(from+i))
	}
	return msgs
}

// A handler that outlasts the session timeout, while its group rebalances, does
// not cost its member the partition.
func TestDrainOutlastsTheSession(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1), kafka.WithSessionTimeout(time.Second))
	l := newLedger()
	began := make(chan struct{})
	slow := func(ctx context.Context, d *pubsub.Delivery) error {
		close(began)
		select {
		case <-time.After(1500 * time.Millisecond): // the handler's work
		case <-ctx.Done():
		}
		return l.handle(ctx, d)
	}
	one := joined(t, b, "t", "g", slow)
	if err := b.Publish(t.Context(), message("t", "k", "1")); err != nil {
		t.Fatal(err)
	}
	receive(t, began)
	two := joined(t, b, "t", "g", l.handle)
	one.leave()
	if err := b.Publish(t.Context(), message("t", "k", "2")); err != nil {
		t.Fatal(err)
	}
	l.await(t, 2)
	two.leave()
	if _, again := l.count(); again != 0 {
		t.Errorf("%d messages were handled again", again)
	}
}

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

// A member that has no partition is not ready either before the group's
// beginning is decided: what is published then would be skipped.
func TestReadyWhenTheGroupIs(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorNotAvailable, Count: 8})
	l := newLedger()
	one := join(t, b, "t", "g", l.handle, pubsub.WithStart(pubsub.Last))
	two := join(t, b, "t", "g", l.handle, pubsub.WithStart(pubsub.Last))
	select {
	case <-one.ready:
	case <-two.ready:
	case <-time.After(patience):
		t.Fatal("nobody is ready")
	}
	if err := b.Publish(t.Context(), message("t", "k", "1")); err != nil {
		t.Fatal(err)
	}
	l.await(t, 1)
}

// A missing dead-letter topic turns out at once, and not with the first message
// for it.
func TestDeadLetterTopicIsChecked(t *testing.T) {
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
	err = b.Subscribe(t.Context(), "t", "g", newLedger().handle, pubsub.WithDeadLetter())
	for _, want := range []string{"subscribe t", "dead letters", "topic t.g.dead does not exist", "create it"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
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
				until(t, func() bool {
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
		until(t, func() bool {
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
	var logged syncBuffer
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
	var logged syncBuffer
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
	until(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.times[1000] == 1 })
	if handled, _ := l.count(); handled >= 101 {
		t.Errorf("nothing was compacted, %d messages", handled)
	}
}

func TestSubscribeUnreachable(t *testing.T) {
	t.Parallel()
	for _, group := range []string{"g", ""} {
		for _, addr := range []string{closedPort(t), silentPort(t)} {
			b := newBroker(t, []string{addr}, kafka.WithConnectTimeout(200*time.Millisecond))
			start := time.Now()
			err := b.Subscribe(t.Context(), "t", group, func(context.Context, *pubsub.Delivery) error { return nil })
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			for _, want := range []string{"subscribe t", addr, "check the address", "connect timeout of 200ms"} {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		}
	}
}

func TestCloseEndsSubscriptions(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs())
	group := joined(t, b, "t", "g", newLedger().handle)
	broadcast := joined(t, b, "t", "", newLedger().handle)
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, m := range []*member{group, broadcast} {
		if receive(t, m.ended); !errors.Is(m.err, pubsub.ErrClosed) {
			t.Errorf("Subscribe = %v, want ErrClosed", m.err)
		}
	}
	if err := b.Subscribe(t.Context(), "t", "g", newLedger().handle); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("Subscribe = %v, want ErrClosed", err)
	}
}

func TestStandstillIsLogged(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	l := newLedger()
	var logged syncBuffer
	cured := make(chan struct{})
	joined(t, b, "t", "g", func(ctx context.Context, d *pubsub.Delivery) error {
		if string(d.Value) == "0" {
			<-cured
		}
		return l.handle(ctx, d)
	}, pubsub.WithWindow(5), pubsub.WithStallAfter(50*time.Millisecond), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	if err := b.Publish(t.Context(), numbered("t", 0, 10, 10)...); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return strings.Contains(logged.String(), "partition stands still") })
	close(cured)
	l.await(t, 10)
	until(t, func() bool { return strings.Contains(logged.String(), "partition goes on") })
	if n := strings.Count(logged.String(), "stands still"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

// A partition of which the brokers tell nothing is stalled, whatever its lag may be.
func TestSilenceIsSeen(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	topic := "silence"
	l := newLedger()
	var logged syncBuffer
	joined(t, b, topic, "g", l.handle, pubsub.WithStallAfter(2*time.Second), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	stalled := func() bool {
		for _, s := range pubsub.Subscriptions() {
			if s.Topic == topic && len(s.Partitions) == 1 {
				return s.Partitions[0].Stalled
			}
		}
		return false
	}
	fault := k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownServerError, Count: -1})
	if err := b.Publish(t.Context(), numbered(topic, 0, 1, 1)...); err != nil {
		t.Fatal(err)
	}
	until(t, stalled)
	fault.Remove()
	l.await(t, 1)
	until(t, func() bool { return !stalled() })
	for _, want := range []string{"the broker does not answer", "partition goes on"} {
		if n := strings.Count(logged.String(), want); n != 1 {
			t.Errorf("it is logged %d times that %q:\n%s", n, want, logged.String())
		}
	}
}

// Bytes bound what a partition holds, too.
func TestLargeMessagesAreNotAllFetched(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	var logged syncBuffer
	cured := make(chan struct{})
	handled := make(chan struct{}, 40)
	joined(t, b, "t", "g", func(context.Context, *pubsub.Delivery) error {
		<-cured
		handled <- struct{}{}
		return nil
	}, pubsub.WithConcurrency(1), pubsub.WithStallAfter(50*time.Millisecond), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	large := strings.Repeat("x", 1_000_000)
	for range 40 {
		if err := b.Publish(t.Context(), message("t", "", large)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool { return strings.Contains(logged.String(), "partition stands still") })
	close(cured)
	for range 40 {
		receive(t, handled)
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
		"ce_specversion: 1.0", "ce_id: id", "ce_source: here", "ce_type: test.v1.Happened", "ce_subject: it",
		"ce_time: 2026-11-23T09:00:00.123456789Z", "content-type: application/protobuf", "traceparent: 00-1", "x: 1", "x: 2",
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

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Lag, window and rebalances are there for metrics. What a member has given away
// it does not show any more.
func TestStates(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	b := newBroker(t, addrs, kafka.WithAutoCreate(2, 1))
	state := func() (one, all pubsub.SubscriptionState) {
		for _, s := range pubsub.Subscriptions() {
			if s.Topic == topic {
				if one.Topic == "" {
					one = s // Subscriptions sorts by age
				}
				all.Handled += s.Handled
				all.Partitions = append(all.Partitions, s.Partitions...)
			}
		}
		return one, all
	}
	l := newLedger()
	letGo := make(chan struct{})
	first := joined(t, b, topic, "g", func(ctx context.Context, d *pubsub.Delivery) error {
		if string(d.Value) == "0" {
			<-letGo
		}
		return l.handle(ctx, d)
	})
	if err := b.Publish(t.Context(), numbered(topic, 0, 50, 10)...); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { s, _ := state(); return s.Handled == 45 && s.Lag() == 5 }) // key0 waits
	s, _ := state()
	if s.Running != 1 || s.Rebalances < 1 || len(s.Partitions) != 2 || s.Partitions[0].Partition != 0 || s.Partitions[1].Partition != 1 {
		t.Errorf("state %+v", s)
	}
	close(letGo)
	until(t, func() bool { s, _ := state(); return s.Lag() == 0 && s.Running == 0 })

	joined(t, b, topic, "g", l.handle)
	until(t, func() bool {
		one, all := state()
		return len(one.Partitions) == 1 && len(all.Partitions) == 2 && one.Rebalances > s.Rebalances
	})
	first.leave()
	until(t, func() bool { one, all := state(); return len(one.Partitions) == 2 && len(all.Partitions) == 2 })
	l.await(t, 50)
}
