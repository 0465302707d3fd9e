package nats_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/nats"
)

// handled is what the handlers of a group saw: the numbers of each key.
type handled struct {
	mu      sync.Mutex
	byKey   map[string][]int
	changed chan struct{} // capacity 1
}

func newHandled() *handled {
	return &handled{byKey: make(map[string][]int), changed: make(chan struct{}, 1)}
}

func (h *handled) handle(_ context.Context, d *pubsub.Delivery) error {
	var n int
	if _, err := fmt.Sscan(string(d.Value), &n); err != nil {
		return pubsub.Permanent(err)
	}
	h.mu.Lock()
	h.byKey[string(d.Key)] = append(h.byKey[string(d.Key)], n)
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
	return nil
}

// await waits until each of the keys has seen the numbers 0 to n-1, and returns
// how many were repeats. First deliveries have to be in order.
func (h *handled) await(t *testing.T, keys, n int) (repeats int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !h.complete(keys, n) {
		select {
		case <-h.changed:
		case <-deadline:
			h.mu.Lock()
			defer h.mu.Unlock()
			t.Fatalf("not all of %d messages of %d keys were handled: %v", n, keys, h.byKey)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, numbers := range h.byKey {
		highest := -1
		for _, i := range numbers {
			switch {
			case i <= highest:
				repeats++
			case i == highest+1:
				highest = i
			default:
				t.Errorf("key %s: %d came after %d", key, i, highest)
				highest = i
			}
		}
	}
	return repeats
}

func (h *handled) complete(keys, n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.byKey) < keys {
		return false
	}
	for _, numbers := range h.byKey {
		if !slices.Contains(numbers, n-1) {
			return false
		}
	}
	return true
}

// subscribe runs a subscription until the test, or the caller, ends it; it
// returns when that is ready.
func subscribe(t *testing.T, b pubsub.Broker, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = b.Subscribe(ctx, topic, group, h, append([]pubsub.SubscribeOption{
			pubsub.WithReady(func() { close(ready) }), pubsub.WithSubscribeLogger(quiet), pubsub.WithDrainTimeout(time.Second),
		}, opts...)...)
	}()
	stop = func() error {
		cancel()
		<-ended
		return err
	}
	t.Cleanup(func() { _ = stop() })
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("Subscribe: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("Subscribe was not ready in time")
	}
	return stop
}

// network is the way to the servers, for nats.go. It can be cut.
type network struct {
	mu    sync.Mutex // guards what follows
	cut   bool
	conns []net.Conn
}

func (n *network) Dial(network, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return nil, errors.New("the network is cut")
	}
	conn, err := net.DialTimeout(network, address, time.Second)
	if err == nil {
		n.conns = append(n.conns, conn)
	}
	return conn, err
}

func (n *network) set(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	for _, conn := range n.conns {
		_ = conn.Close()
	}
	n.conns = nil
}

// The server restarts again and again while messages are published and handled:
// none is lost, none is stored twice, each key stays in order.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	const keys, each, restarts = 8, 150, 3
	store := t.TempDir()
	srv := startServer(t, listen, func(o *server.Options) { o.StoreDir = store })
	addr := srv.Addr().(*net.TCPAddr)
	b, err := nats.New([]string{addr.String()}, nats.WithAutoCreate(4), nats.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	h := newHandled()
	for range 2 {
		subscribe(t, b, "t", "g", h.handle)
	}
	var publishing sync.WaitGroup
	var published atomic.Int64
	for key := range keys {
		publishing.Go(func() {
			for i := range each {
				if err := b.Publish(t.Context(), &pubsub.Message{Topic: "t", Key: fmt.Append(nil, "k", key), Value: fmt.Append(nil, i)}); err != nil {
					t.Errorf("Publish: %v", err)
					return
				}
				published.Add(1)
			}
		})
	}
	for i := range int64(restarts) {
		for published.Load() < (i+1)*keys*each/(restarts+1) {
			select {
			case <-h.changed:
			case <-time.After(10 * time.Millisecond):
			}
		}
		srv.Shutdown()
		srv.WaitForShutdown()
		srv = startServer(t, listen, func(o *server.Options) { o.StoreDir, o.Port = store, addr.Port })
	}
	publishing.Wait()
	repeats := h.await(t, keys, each)
	stored, err := client(t, srv).Stream(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	if n := stored.CachedInfo().State.Msgs; n != keys*each {
		t.Errorf("%d messages are stored, %d were published", n, keys*each)
	}
	t.Logf("%d of %d were handled again", repeats, keys*each)
}

// A member is cut off: after the session timeout another has its partitions, and
// goes on from its last commit. When it is back it takes part again, and what it
// had in hand does no harm.
func TestMemberCutOff(t *testing.T) {
	t.Parallel()
	const keys, each = 8, 60
	addrs, topic := anywhere(t)
	var way network
	session := nats.WithSessionTimeout(500 * time.Millisecond)
	stays, leaves := openBroker(t, addrs, session), openBroker(t, addrs, session, nats.WithClientOptions(natsgo.SetCustomDialer(&way)))
	h := newHandled()
	var mine atomic.Int64
	cutMember := func(ctx context.Context, d *pubsub.Delivery) error {
		mine.Add(1)
		return h.handle(ctx, d)
	}
	subscribe(t, stays, topic, "g", h.handle)
	subscribe(t, leaves, topic, "g", cutMember)
	n := 0
	publish := func(rounds int) {
		t.Helper()
		for range rounds {
			for key := range keys {
				if err := stays.Publish(t.Context(), &pubsub.Message{Topic: topic, Key: fmt.Append(nil, "k", key), Value: fmt.Append(nil, n)}); err != nil {
					t.Fatal(err)
				}
			}
			n++
		}
	}
	shares := func() {
		t.Helper()
		for before, deadline := mine.Load(), time.Now().Add(20*time.Second); mine.Load() == before; {
			if time.Now().After(deadline) {
				t.Fatal("the member gets no messages")
			}
			publish(1)
		}
	}
	shares()
	publish(each)
	way.set(true)
	publish(each)
	h.await(t, keys, n) // by the other one alone
	way.set(false)
	shares()
	publish(each)
	t.Logf("%d of %d were handled again", h.await(t, keys, n), keys*n)
}

// What is deleted from a stream before a group has come to it is logged, and the
// group goes on with what there is.
func TestDeletedMessages(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	js := client(t, srv)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "T", Subjects: []string{"t.*"}, MaxMsgs: 10, Metadata: map[string]string{"micro-partitions": "1"},
	}); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, srv)
	var first atomic.Int64
	note := func(_ context.Context, d *pubsub.Delivery) error {
		first.CompareAndSwap(0, d.Offset)
		return nil
	}
	if err := subscribe(t, b, "t", "g", note)(); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		if err := b.Publish(t.Context(), &pubsub.Message{Topic: "t", Key: []byte("k")}); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	err := b.Subscribe(t.Context(), "t", "g", note, pubsub.WithLimit(10), pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&text, nil))))
	if err != nil || first.Load() != 21 {
		t.Errorf("Subscribe: %v; the first message was %d, want 21", err, first.Load())
	}
	if log := text.String(); !strings.Contains(log, "messages were deleted before the group had come to them") || !strings.Contains(log, "from=1 to=20") {
		t.Errorf("the log does not say what is lost: %s", log)
	}
}

// A stream that is deleted ends the subscriptions: its sequence numbers mean
// nothing any more. The group begins anew with the next one of the name.
func TestStreamMadeAnew(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	js := client(t, srv)
	b := newBroker(t, srv)
	h := newHandled()
	publish := func(n int) {
		t.Helper()
		for i := range n {
			if err := b.Publish(t.Context(), &pubsub.Message{Topic: "t", Key: []byte("k"), Value: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(5)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.Subscribe(ctx, "t", "g", h.handle, pubsub.WithSubscribeLogger(quiet)) }()
	h.await(t, 1, 5)
	if err := js.DeleteStream(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "stream t") {
		t.Errorf("Subscribe returned %v when the stream was deleted", err)
	}
	publish(3)
	h = newHandled()
	subscribe(t, b, "t", "g", h.handle)
	if repeats := h.await(t, 1, 3); repeats > 0 {
		t.Errorf("%d messages came again", repeats)
	}
}

// A group that begins with Last goes on with everything in partitions that are
// new to it, also when they were there before it came back.
func TestMorePartitions(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	js := client(t, srv)
	c := jetstream.StreamConfig{Name: "T", Subjects: []string{"t.*"}, Metadata: map[string]string{"micro-partitions": "1"}}
	if _, err := js.CreateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var handled atomic.Int64
	count := func(context.Context, *pubsub.Delivery) error {
		handled.Add(1)
		return nil
	}
	publish := func(b pubsub.Broker) {
		t.Helper()
		for i := range 20 {
			if err := b.Publish(t.Context(), &pubsub.Message{Topic: "t", Key: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := newBroker(t, srv)
	publish(before)
	if err := subscribe(t, before, "t", "g", count, pubsub.WithStart(pubsub.Last))(); err != nil {
		t.Fatal(err)
	}
	if n := handled.Load(); n > 0 {
		t.Errorf("%d messages of before came", n)
	}
	c.Metadata["micro-partitions"] = "4"
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	after := newBroker(t, srv)
	publish(after)
	if err := after.Subscribe(t.Context(), "t", "g", count, pubsub.WithStart(pubsub.Last), pubsub.WithLimit(20), pubsub.WithSubscribeLogger(quiet)); err != nil {
		t.Fatal(err)
	}
}
