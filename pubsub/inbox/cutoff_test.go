package inbox_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/inbox"
)

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

// A member that nobody can reach is told of, and gets what waits when it can be.
func TestNobodyTakes(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	var text wait.Log
	b := newBroker(t, reg, inbox.WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
	addr := freePort(t)
	way := newWire(t, addr)
	way.set(true)
	r := newRecord()
	subscribe(t, newBroker(t, reg, inbox.WithAddress(addr), inbox.WithAdvertise(way.lis.Addr().String())), "t", "g", r.handle)
	publish(t, b, "k", 0, 3)
	wait.Until(t, "the log to tell", func() bool { return strings.Contains(text.String(), "no member of a group takes an event") })
	way.set(false)
	r.await(t, "all events", func() bool { return r.count() == 3 })
	if got := r.of("k"); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("handled %q", got)
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
