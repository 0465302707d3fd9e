package inbox_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/certs"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/inbox"
)

func TestInvalid(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	for want, opts := range map[string][]inbox.Option{
		"no credentials: use WithTLS, or WithInsecure": {},
		"nil Option":                           {nil},
		`address "here": give host:port`:       {inbox.WithAddress("here")},
		`address ":7070": publishers cannot`:   {inbox.WithInsecure(), inbox.WithAddress(":7070")},
		`advertised address "0.0.0.0:1": give`: {inbox.WithInsecure(), inbox.WithAdvertise("0.0.0.0:1")},
		"retention of 0":                       {inbox.WithInsecure(), inbox.WithRetention(0)},
		"publish timeout 0s":                   {inbox.WithInsecure(), inbox.WithPublishTimeout(0)},
		"nil logger":                           {inbox.WithInsecure(), inbox.WithLogger(nil)},
	} {
		if _, err := inbox.New(reg, opts...); err == nil || !strings.HasPrefix(err.Error(), "inbox: "+want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
	if _, err := inbox.New(nil, inbox.WithInsecure()); err == nil || !strings.Contains(err.Error(), "nil registry") {
		t.Errorf("got error %v", err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	b := newBroker(t, reg, inbox.WithAddress(lis.Addr().String()))
	err = b.Subscribe(t.Context(), "t", "g", func(context.Context, *pubsub.Delivery) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "inbox: listen at "+lis.Addr().String()) {
		t.Errorf("Subscribe at an address in use returned %v", err)
	}
}

// What could never be delivered is rejected, before it stands in the way.
func TestPublishInvalid(t *testing.T) {
	t.Parallel()
	b := newBroker(t, newRegistry(t))
	for name, bad := range map[string]*pubsub.Message{
		"ID":     {Topic: "t", ID: "\xff"},
		"header": {Topic: "t", Header: pubsub.Header{{Key: "\xff"}}},
		"size":   {Topic: "t", Value: make([]byte, 5<<20)},
		"time":   {Topic: "t", Time: time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		err := b.Publish(t.Context(), &pubsub.Message{Topic: "t"}, bad)
		failure, ok := errors.AsType[*pubsub.PublishError](err)
		if !ok || !errors.Is(failure.Results[0], pubsub.ErrNotSent) || !errors.Is(failure.Results[1], pubsub.ErrRejected) {
			t.Errorf("%s: Publish returned %v", name, err)
		}
	}
}

// record is what handlers saw of each key.
type record struct {
	mu      sync.Mutex
	byKey   map[string][]string
	changed chan struct{} // capacity 1
}

func newRecord() *record {
	return &record{byKey: make(map[string][]string), changed: make(chan struct{}, 1)}
}

func (r *record) handle(_ context.Context, d *pubsub.Delivery) error {
	r.mu.Lock()
	r.byKey[string(d.Key)] = append(r.byKey[string(d.Key)], string(d.Value))
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return nil
}

func (r *record) of(key string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.byKey[key])
}

func (r *record) count() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, values := range r.byKey {
		n += len(values)
	}
	return n
}

func (r *record) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-r.changed:
		case <-deadline:
			t.Fatalf("waited in vain: %s; handled: %q", what, r.byKey)
		}
	}
}

// subscribe runs a subscription until the test, or the caller, ends it; it
// returns when that is ready.
func subscribe(t *testing.T, b pubsub.Broker, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if err := b.Subscribe(ctx, topic, group, h, append([]pubsub.SubscribeOption{
			pubsub.WithReady(func() { close(ready) }), pubsub.WithSubscribeLogger(quiet),
		}, opts...)...); err != nil {
			t.Errorf("Subscribe: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		t.Fatal("Subscribe was not ready in time")
	}
	return stop
}

func message(key, value string) *pubsub.Message {
	return &pubsub.Message{Topic: "t", Key: []byte(key), Value: []byte(value)}
}

func publish(t *testing.T, b pubsub.Broker, key string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := b.Publish(t.Context(), message(key, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
}

// wire is the way to a member. It can be cut.
type wire struct {
	lis net.Listener
	to  string

	mu    sync.Mutex // guards what follows
	cut   bool
	conns []net.Conn
	work  sync.WaitGroup
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{lis: lis, to: to}
	w.work.Go(w.run)
	t.Cleanup(func() {
		_ = lis.Close()
		w.set(true)
		w.work.Wait()
	})
	return w
}

func (w *wire) run() {
	for {
		in, err := w.lis.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.to)
		w.mu.Lock()
		if err != nil || w.cut {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			w.mu.Unlock()
			continue
		}
		w.conns = append(w.conns, in, out)
		w.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			w.work.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// freePort returns an address where nobody listens now.
func freePort(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

// A member cannot be reached any more while it has events in hand: others get
// them, nothing is lost, and each key's first deliveries stay in order. When it is
// back it gets its keys again.
func TestMemberCutOff(t *testing.T) {
	t.Parallel()
	const keys, each = 16, 60
	reg := newRegistry(t)
	addr := freePort(t)
	way := newWire(t, addr)
	publisher, stays := newBroker(t, reg), newBroker(t, reg)
	leaves := newBroker(t, reg, inbox.WithAddress(addr), inbox.WithAdvertise(way.lis.Addr().String()))
	all, mine := newRecord(), newRecord()
	subscribe(t, stays, "t", "g", all.handle)
	subscribe(t, leaves, "t", "g", func(ctx context.Context, d *pubsub.Delivery) error {
		_ = mine.handle(ctx, d)
		return all.handle(ctx, d)
	})
	n := 0
	rounds := func(count int) {
		t.Helper()
		for range count {
			for key := range keys {
				publish(t, publisher, fmt.Sprint("k", key), n, n+1)
			}
			n++
		}
	}
	handled := func() bool {
		for key := range keys {
			if !slices.Contains(all.of(fmt.Sprint("k", key)), fmt.Sprint(n-1)) {
				return false
			}
		}
		return true
	}
	rounds(1)
	all.await(t, "both members handle all", handled)
	if mine.count() == 0 {
		t.Error("the member had no event before it was cut off")
	}
	rounds(each)
	way.set(true) // with what it has in hand
	rounds(each)
	all.await(t, "the one that is left handles all", handled)
	before := mine.count()
	way.set(false)
	for deadline := time.Now().Add(20 * time.Second); mine.count() == before; { // it connects again
		if time.Now().After(deadline) {
			t.Fatal("the member gets no events when it is back")
		}
		rounds(1)
		all.await(t, "all is handled", handled)
	}
	repeats := 0
	for key := range keys {
		highest := -1
		for _, v := range all.of(fmt.Sprint("k", key)) {
			var i int
			_, _ = fmt.Sscan(v, &i)
			if i > highest+1 {
				t.Errorf("key %d: %d came after %d", key, i, highest)
			}
			if i <= highest {
				repeats++
			}
			highest = max(highest, i)
		}
	}
	t.Logf("%d of %d were handled again", repeats, keys*n)
}

// A key goes to the same member each time.
func TestSameMember(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	one, two := newRecord(), newRecord()
	subscribe(t, newBroker(t, reg), "t", "g", one.handle)
	subscribe(t, newBroker(t, reg), "t", "g", two.handle)
	for range 2 { // publishers agree
		publisher := newBroker(t, reg)
		for key := range 32 {
			publish(t, publisher, fmt.Sprint("k", key), 0, 5)
		}
		closeBroker(t, publisher)
	}
	if one.count() == 0 || two.count() == 0 || one.count()+two.count() != 320 {
		t.Errorf("the members got %d and %d of 320 events", one.count(), two.count())
	}
	for key := range 32 {
		if a, b := len(one.of(fmt.Sprint("k", key))), len(two.of(fmt.Sprint("k", key))); a*b != 0 {
			t.Errorf("of key %d the members got %d and %d events", key, a, b)
		}
	}
}

// Close delivers what groups with members have not handled, and says what is
// left when it may not wait for longer.
func TestCloseFlushes(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	r := newRecord()
	letGo := make(chan struct{})
	subscribe(t, newBroker(t, reg), "t", "g", func(ctx context.Context, d *pubsub.Delivery) error {
		select {
		case <-letGo:
			return r.handle(ctx, d)
		case <-ctx.Done():
			return ctx.Err()
		}
	}, pubsub.WithConcurrency(2), pubsub.WithDrainTimeout(0))
	hasty, err := inbox.New(reg, inbox.WithInsecure(), inbox.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, hasty, "hasty", 0, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := hasty.Close(ctx); err == nil || !strings.Contains(err.Error(), "3 events were not handled yet") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close returned %v", err)
	}
	patient := newBroker(t, reg)
	publish(t, patient, "k", 0, 50)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeBroker(t, patient)
	}()
	close(letGo)
	<-closed
	if got := r.of("k"); len(got) != 50 || !slices.IsSortedFunc(got, func(a, b string) int { return len(a) - len(b) }) {
		t.Errorf("when Close had returned, %q were handled", got)
	}
}

// A full topic holds up publishers as long as the group that does not keep up has
// members, and no longer.
func TestFull(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	b := newBroker(t, reg, inbox.WithRetention(8), inbox.WithPublishTimeout(100*time.Millisecond))
	stop := subscribe(t, newBroker(t, reg), "t", "slow", func(ctx context.Context, _ *pubsub.Delivery) error {
		<-ctx.Done()
		return ctx.Err()
	}, pubsub.WithDrainTimeout(0))
	publish(t, b, "k", 0, 8)
	err := b.Publish(t.Context(), message("k", "8"))
	if !errors.Is(err, pubsub.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `is full of messages that group "slow" has not finished`) {
		t.Errorf("Publish to a full topic returned %v", err)
	}
	stop()
	for deadline := time.Now().Add(10 * time.Second); b.Publish(t.Context(), message("k", "8")) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("a group without members holds up publishers")
		}
	}
}

// What is dropped while a group has no members is told when it is back.
func TestDropped(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	var text syncBuilder
	b := newBroker(t, reg, inbox.WithRetention(8), inbox.WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
	members := newBroker(t, reg)
	r := newRecord()
	stop := subscribe(t, members, "t", "g", r.handle)
	publish(t, b, "k", 0, 3)
	r.await(t, "the first ones", func() bool { return r.count() == 3 })
	stop()
	publish(t, b, "k", 3, 20)
	subscribe(t, members, "t", "g", r.handle)
	r.await(t, "the newest", func() bool { return slices.Contains(r.of("k"), "19") })
	if want := []string{"0", "1", "2", "12", "13", "14", "15", "16", "17", "18", "19"}; !slices.Equal(r.of("k"), want) {
		t.Errorf("handled %q, want %q", r.of("k"), want)
	}
	if log := text.String(); !strings.Contains(log, "messages were dropped while the group had no members") {
		t.Errorf("the log does not tell: %s", log)
	}
}

type syncBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// While the registry is away, publishers go on with the members last known; only
// a topic of which they know nothing has to wait.
func TestRegistryAway(t *testing.T) {
	t.Parallel()
	reg := newFaulty(newRegistry(t))
	b, members := newBroker(t, reg, inbox.WithPublishTimeout(200*time.Millisecond)), newBroker(t, reg)
	r := newRecord()
	subscribe(t, members, "t", "g", r.handle)
	publish(t, b, "k", 0, 1)
	r.await(t, "the first event", func() bool { return r.count() == 1 })
	reg.set(away)
	publish(t, b, "k", 1, 5)
	r.await(t, "events without a registry", func() bool { return r.count() == 5 })
	err := b.Publish(t.Context(), &pubsub.Message{Topic: "other"})
	if !errors.Is(err, pubsub.ErrNotSent) || !strings.Contains(err.Error(), "the registry has not told the subscribers") {
		t.Errorf("Publish to an unknown topic returned %v", err)
	}
	reg.set(well)
	for deadline := time.Now().Add(20 * time.Second); b.Publish(t.Context(), &pubsub.Message{Topic: "other"}) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the registry is back, and publishing does not work")
		}
	}
}

// A registry that shows nobody for a moment repeats nothing, neither to a group
// nor to a broadcast, and the group misses nothing.
func TestRegistryForgets(t *testing.T) {
	t.Parallel()
	reg := newFaulty(newRegistry(t))
	b, members := newBroker(t, reg), newBroker(t, reg)
	group, cast := newRecord(), newRecord()
	subscribe(t, members, "t", "g", group.handle)
	subscribe(t, members, "t", "", cast.handle)
	publish(t, b, "k", 0, 10)
	group.await(t, "the group gets 10", func() bool { return group.count() == 10 })
	cast.await(t, "the broadcast gets 10", func() bool { return cast.count() == 10 })
	reg.set(empty)
	publish(t, b, "k", 10, 15)
	reg.set(well)
	for n := 15; len(cast.of("k")) < 11; n++ { // until the broadcast is seen again
		publish(t, b, "k", n, n+1)
		group.await(t, "the group gets all", func() bool { return group.count() >= n+1 })
	}
	if got := group.of("k"); len(got) != len(slices.Compact(slices.Sorted(slices.Values(got)))) {
		t.Errorf("the group got repeats: %q", got)
	}
	if got := cast.of("k"); len(got) != len(slices.Compact(slices.Sorted(slices.Values(got)))) {
		t.Errorf("the broadcast got repeats: %q", got)
	}
}

// A handler may publish what it will handle itself later, with the key that it is
// handling.
func TestHandlerPublishes(t *testing.T) {
	t.Parallel()
	b := newBroker(t, newRegistry(t))
	r := newRecord()
	subscribe(t, b, "t", "g", func(ctx context.Context, d *pubsub.Delivery) error {
		if v := string(d.Value); len(v) < 5 {
			if err := b.Publish(ctx, message("k", v+"x")); err != nil {
				return err
			}
		}
		return r.handle(ctx, d)
	}, pubsub.WithConcurrency(1))
	if err := b.Publish(t.Context(), message("k", "x")); err != nil {
		t.Fatal(err)
	}
	r.await(t, "the chain of events", func() bool { return r.count() == 5 })
}

// A member that nobody can reach is told of, and gets what waits when it can be.
func TestNobodyTakes(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	var text syncBuilder
	b := newBroker(t, reg, inbox.WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
	addr := freePort(t)
	way := newWire(t, addr)
	way.set(true)
	r := newRecord()
	subscribe(t, newBroker(t, reg, inbox.WithAddress(addr), inbox.WithAdvertise(way.lis.Addr().String())), "t", "g", r.handle)
	publish(t, b, "k", 0, 3)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(text.String(), "no member of a group takes an event"); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not tell: %s", text.String())
		}
	}
	way.set(false)
	r.await(t, "all events", func() bool { return r.count() == 3 })
	if got := r.of("k"); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("handled %q", got)
	}
}

// With mutual TLS only who has a certificate can hand out events.
func TestTLS(t *testing.T) {
	t.Parallel()
	authority, err := certs.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool(), MinVersion: tls.VersionTLS12}
	client := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: authority.Pool(), MinVersion: tls.VersionTLS12}
	nameless := &tls.Config{RootCAs: authority.Pool(), MinVersion: tls.VersionTLS12}
	reg := newRegistry(t)
	r := newRecord()
	subscribe(t, newBroker(t, reg, inbox.WithTLS(server, client)), "t", "g", r.handle)
	publish(t, newBroker(t, reg, inbox.WithTLS(server, client)), "good", 0, 3)
	r.await(t, "events with a certificate", func() bool { return r.count() == 3 })
	for name, opt := range map[string]inbox.Option{"no certificate": inbox.WithTLS(server, nameless), "no TLS": inbox.WithInsecure()} {
		b, err := inbox.New(reg, opt, inbox.WithLogger(quiet))
		if err != nil {
			t.Fatal(err)
		}
		publish(t, b, name, 0, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := b.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 events were not handled yet") {
			t.Errorf("%s: Close returned %v", name, err)
		}
		cancel()
		if got := r.of(name); len(got) > 0 {
			t.Errorf("%s: handled %q", name, got)
		}
	}
}
