package outbox_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/outbox"
)

const crashEnv = "OUTBOX_TEST_CRASH"

// crash is a process of its own: a relay that dies right after it has published
// its second batch, and before that is taken out.
func crash() {
	dialect, rest, _ := strings.Cut(os.Getenv(crashEnv), "|")
	table, rest, _ := strings.Cut(rest, "|")
	file, source, _ := strings.Cut(rest, "|")
	db, err := sql.Open(map[string]string{"postgresql": "pgx", "sqlite": "sqlite"}[dialect], source)
	if err == nil {
		var relay *outbox.Relay
		to := &fileSink{name: file, after: func(calls int) {
			if calls == 2 {
				os.Exit(7)
			}
		}}
		relay, err = outbox.Must(outbox.Dialect(dialect), outbox.WithTable(table)).Relay(db, to, outbox.WithBatch(10), outbox.WithLease(300*time.Millisecond))
		if err == nil {
			err = relay.Run(context.Background())
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// fileSink is a broker that outlives its publishers: a file of IDs and values.
type fileSink struct {
	name  string
	after func(calls int)
	calls int
}

func (f *fileSink) Publish(_ context.Context, msgs ...*pubsub.Message) error {
	file, err := os.OpenFile(f.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, m := range msgs {
		if _, err := fmt.Fprintf(file, "%s %s\n", m.ID, m.Value); err != nil {
			return err
		}
	}
	if f.calls++; f.after != nil {
		f.after(f.calls)
	}
	return nil
}

// A relay that dies between publishing and taking out loses nothing: another
// publishes again, with the same IDs, and Dedup drops that.
func TestCrashBetweenPublishAndTakeOut(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		const n = 50
		var ids []string
		for i := range n {
			m := message("k", fmt.Sprint(i))
			s.write(m)
			ids = append(ids, m.ID)
		}
		file := filepath.Join(s.TempDir(), "broker")
		cmd := exec.CommandContext(s.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashEnv+"="+strings.Join([]string{string(s.dialect), s.table, file, s.source}, "|"))
		out, err := cmd.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 {
			s.Fatalf("the relay did not die as it should: %v\n%s", err, out)
		}
		if pending := s.pending(); pending != n-10 {
			s.Fatalf("%d events are pending after the crash, want %d", pending, n-10)
		}
		s.relay(&fileSink{name: file}, outbox.WithBatch(10), outbox.WithLease(300*time.Millisecond))
		wait.Until(s, "nothing is pending", func() bool { return s.pending() == 0 })

		broker := pubsub.NewMemory()
		defer broker.Close(s.Context())
		f, err := os.Open(file)
		if err != nil {
			s.Fatal(err)
		}
		defer f.Close()
		lines := 0
		for scan := bufio.NewScanner(f); scan.Scan(); lines++ {
			id, value, _ := strings.Cut(scan.Text(), " ")
			if err := broker.Publish(s.Context(), &pubsub.Message{ID: id, Topic: "t", Key: []byte("k"), Value: []byte(value)}); err != nil {
				s.Fatal(err)
			}
		}
		if lines != n+10 {
			s.Errorf("%d events were published %d times, want %d: one batch twice", n, lines, n+10)
		}
		var handled []string
		if err := broker.Subscribe(s.Context(), "t", "g", func(_ context.Context, d *pubsub.Delivery) error {
			handled = append(handled, d.ID)
			return nil
		}, pubsub.WithLimit(lines), pubsub.WithMiddleware(pubsub.Dedup(pubsub.NewDedupMemory(1000, 0)))); err != nil {
			s.Fatal(err)
		}
		if !slices.Equal(handled, ids) {
			s.Errorf("handled %q, want each of %q once, in order", handled, ids)
		}
	})
}

// Relays come and go while events are written: none is lost, none is repeated,
// and each key stays in order.
func TestManyRelays(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		const keys, atLeast, relays = 8, 40, 3
		var to sink
		var worked atomic.Int64
		each := 0
		writing := make(chan struct{})
		go func() {
			defer close(writing)
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for deadline := time.Now().Add(30 * time.Second); each < atLeast || worked.Load() < relays; each++ {
				if time.Now().After(deadline) {
					s.Errorf("only %d relays have worked", worked.Load())
					return
				}
				for keys*each-len(to.all()) > 200 && time.Now().Before(deadline) {
					<-tick.C // the relays are not to have a backlog at the end
				}
				i := each
				var msgs []*pubsub.Message
				for key := range keys {
					msgs = append(msgs, message(fmt.Sprint("k", key), fmt.Sprint(i)))
				}
				if err := s.inTx(func(tx *sql.Tx) error { return s.box.Publisher(tx).Publish(s.Context(), msgs...) }); err != nil {
					s.Error(err)
					return
				}
			}
		}()
		var running sync.WaitGroup
		done := make(chan struct{})
		for range relays {
			running.Go(func() {
				for {
					r, stop := s.relay(&to, outbox.WithBatch(5), outbox.WithLease(5*time.Second))
					wait.Until(s, "the relay has worked", func() bool {
						select {
						case <-done:
							return true
						default:
							return r.Stats().Published > 60
						}
					})
					stop()
					if r.Stats().Published > 0 {
						worked.Add(1)
					}
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		<-writing
		wait.Until(s, "nothing is pending", func() bool { return s.pending() == 0 })
		close(done)
		running.Wait()
		for key := range keys {
			var want []string
			for i := range each {
				want = append(want, fmt.Sprint(i))
			}
			if got := to.values(fmt.Sprint("k", key)); !slices.Equal(got, want) {
				s.Errorf("key %d: published %q", key, got)
			}
		}
	})
}

// An event that the broker does not take keeps its key back, and no other.
func TestFailingKey(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		var to sink
		var tries atomic.Int64
		to.setFails(func(m *pubsub.Message) error {
			if string(m.Key) == "bad" {
				tries.Add(1)
				return fmt.Errorf("%w: no such topic", pubsub.ErrRejected)
			}
			return nil
		})
		relay, _ := s.relay(&to, outbox.WithBatch(4))
		for i := range 20 {
			s.write(message("bad", fmt.Sprint(i)), message("good", fmt.Sprint(i)))
		}
		wait.Until(s, "the good ones are published, and the bad one tried again", func() bool { return s.pending() == 20 && relay.Stats().Failed > 2 })
		if stats := relay.Stats(); stats.Held != 1 || tries.Load() < 3 || stats.Published != 20 {
			s.Errorf("stats %+v", stats)
		}
		to.setFails(nil)
		wait.Until(s, "nothing is pending", func() bool { return s.pending() == 0 })
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint(i))
		}
		for _, key := range []string{"bad", "good"} {
			if got := to.values(key); !slices.Equal(got, want) {
				s.Errorf("key %s: published %q, want %q", key, got, want)
			}
		}
		if stats := relay.Stats(); stats.Held != 0 {
			s.Errorf("stats %+v when all is well", stats)
		}
	})
}

// A broker that takes nothing of a call with a bad message does not keep the
// others from being published.
func TestRejectedCall(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		for i := range 10 {
			s.write(message(fmt.Sprint("k", i), fmt.Sprint(i)))
		}
		var to sink
		s.relay(publisherFunc(func(ctx context.Context, msgs ...*pubsub.Message) error {
			results := make([]error, len(msgs))
			bad := false
			for i, m := range msgs {
				results[i] = fmt.Errorf("%w: beside a bad one", pubsub.ErrNotSent)
				if string(m.Value) == "3" || string(m.Value) == "7" {
					results[i], bad = fmt.Errorf("%w: too large", pubsub.ErrRejected), true
				}
			}
			if bad {
				return &pubsub.PublishError{Results: results}
			}
			return to.Publish(ctx, msgs...)
		}))
		wait.Until(s, "only the bad ones are pending", func() bool { return s.pending() == 2 })
	})
}

type publisherFunc func(ctx context.Context, msgs ...*pubsub.Message) error

func (f publisherFunc) Publish(ctx context.Context, msgs ...*pubsub.Message) error {
	return f(ctx, msgs...)
}

// The broker is away, also in a way that says nothing about single messages, and
// comes back.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		var to sink
		var calls atomic.Int64
		s.relay(publisherFunc(func(ctx context.Context, msgs ...*pubsub.Message) error {
			switch n := calls.Add(1); {
			case n < 3:
				return errors.New("what?")
			case n < 6:
				results := make([]error, len(msgs))
				for i := range results {
					results[i] = fmt.Errorf("%w: nobody is there", pubsub.ErrUnknown)
				}
				return &pubsub.PublishError{Results: results}
			}
			return to.Publish(ctx, msgs...)
		}))
		for i := range 10 {
			s.write(message("k", fmt.Sprint(i)))
		}
		wait.Until(s, "nothing is pending", func() bool { return s.pending() == 0 })
		if got := to.values("k"); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}) {
			s.Errorf("published %q", got)
		}
	})
}

// A relay that hangs in the broker loses the lease, and another goes on. When it
// comes to, it sees that it is not the one any more.
func TestHangingRelay(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		var to sink
		hangs, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		first, _ := s.relay(publisherFunc(func(ctx context.Context, msgs ...*pubsub.Message) error {
			once.Do(func() { close(hangs) })
			<-goOn // whatever ctx says
			return to.Publish(ctx, msgs...)
		}), outbox.WithLease(200*time.Millisecond), outbox.WithBatch(2))
		for i := range 10 {
			s.write(message("k", fmt.Sprint(i)))
		}
		<-hangs
		second, _ := s.relay(&to, outbox.WithLease(time.Minute), outbox.WithBatch(2)) // and keeps it, if the machine sleeps
		wait.Until(s, "nothing is pending", func() bool { return s.pending() == 0 })
		if !second.Stats().Active {
			s.Error("the second relay does not work")
		}
		close(goOn)
		wait.Until(s, "the first one stands by", func() bool { return !first.Stats().Active })
		s.write(message("k", "10"))
		wait.Until(s, "nothing is pending", func() bool { return s.pending() == 0 })
		highest := -1
		for _, v := range to.values("k") {
			var n int
			if _, err := fmt.Sscan(v, &n); err != nil || n > highest+1 {
				s.Errorf("%q came after %d", v, highest)
			}
			highest = max(highest, n)
		}
		if highest != 10 {
			s.Errorf("published up to %d, want 10", highest)
		}
	})
}

// What is published can be kept for a while.
func TestKeep(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		var to sink
		rows := func() (n int) {
			if err := s.db.QueryRowContext(s.Context(), `SELECT count(*) FROM `+s.table+` WHERE published > 1700000000000`).Scan(&n); err != nil {
				s.Fatal(err)
			}
			return n
		}
		_, stop := s.relay(&to, outbox.WithKeep(time.Hour))
		s.write(message("a", "1"), message("b", "2"))
		wait.Until(s, "nothing is pending", func() bool { return s.pending() == 0 })
		if n := rows(); n != 2 {
			s.Errorf("%d rows are kept, want 2", n)
		}
		stop()
		s.relay(&to, outbox.WithKeep(time.Millisecond))
		wait.Until(s, "they are gone", func() bool { return rows() == 0 })
		if got := to.values(""); len(got) != 2 {
			s.Errorf("published %q", got)
		}
	})
}

// An idle relay looks at once when it is woken.
func TestWake(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		var to sink
		relay, _ := s.relay(&to, outbox.WithPoll(time.Hour))
		wait.Until(s, "the relay works", func() bool { return relay.Stats().Active })
		s.write(message("k", "v"))
		wait.Until(s, "the event is published", func() bool {
			relay.Wake()
			return len(to.values("k")) == 1
		})
	})
}

// The table is made when the relay runs already: it waits for it, and says so.
func TestDatabaseNotReady(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		s.exec(`DROP TABLE ` + s.table)
		s.exec(`DROP TABLE ` + s.table + `_lease`)
		var to sink
		s.relay(&to)
		s.exec(s.box.Schema())
		s.write(message("k", "v"))
		wait.Until(s, "the event is published", func() bool { return len(to.values("k")) == 1 })
	})
}
