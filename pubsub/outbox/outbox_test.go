package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/outbox"
)

// State and event are one commit: both, or neither.
func TestCommitAndRollback(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		s.exec(`INSERT INTO ` + s.table + `_state (name, n) VALUES ('account', 100)`)
		withdraw := func(n int, end error) error {
			return s.inTx(func(tx *sql.Tx) error {
				if _, err := tx.ExecContext(s.Context(), fmt.Sprintf(`UPDATE %s_state SET n = n - %d WHERE name = 'account'`, s.table, n)); err != nil {
					return err
				}
				if err := s.box.Publisher(tx).Publish(s.Context(), message("account", fmt.Sprint("withdrawn ", n))); err != nil {
					return err
				}
				return end
			})
		}
		var to sink
		relay, _ := s.relay(&to)
		if err := withdraw(10, nil); err != nil {
			s.Fatal(err)
		}
		if err := withdraw(20, errors.New("changed my mind")); err == nil {
			s.Fatal("the transaction was not rolled back")
		}
		if err := withdraw(30, nil); err != nil {
			s.Fatal(err)
		}
		wait.Until(s, "nothing is pending", func() bool { return s.pending() == 0 })
		var balance int
		if err := s.db.QueryRowContext(s.Context(), `SELECT n FROM `+s.table+`_state`).Scan(&balance); err != nil {
			s.Fatal(err)
		}
		want := []string{"withdrawn 10", "withdrawn 30"}
		if got := to.values(""); balance != 60 || !slices.Equal(got, want) {
			s.Errorf("the balance is %d, and the events are %q: want 60 and %q", balance, got, want)
		}
		if stats := relay.Stats(); !stats.Active || stats.Published != 2 || stats.Failed != 0 || stats.Held != 0 {
			s.Errorf("stats %+v", stats)
		}
	})
}

// A message comes out as it went in.
func TestAttributes(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		want := []*pubsub.Message{
			{
				ID: "id with spaces, ümläuts", Type: "greeter.v1.Greeted", Source: "/greeter", Subject: "some'body", Topic: "t",
				ContentType: "application/protobuf", Key: []byte{0, 0xff, 'k'}, Value: []byte{1, 0, 0xff},
				Time:   time.Date(2026, 11, 23, 8, 3, 0, 123456789, time.FixedZone("", 3600)),
				Header: pubsub.Header{{Key: "b", Value: []byte("2")}, {Key: "a", Value: []byte{0, 0xff}}, {Key: "b", Value: []byte{}}},
			},
			{ID: "tombstone", Topic: "t", Key: []byte("k"), Time: time.Unix(0, 0).UTC()},
			{ID: "empty", Topic: "t", Key: []byte{}, Value: []byte{}, Time: time.Unix(1, 0).UTC()},
		}
		for i := range 250 { // more than one statement
			want = append(want, &pubsub.Message{ID: fmt.Sprint(i), Topic: "t", Value: fmt.Append(nil, i), Time: time.Unix(int64(i), 0).UTC()})
		}
		var sent []*pubsub.Message
		for _, m := range want {
			m := *m
			sent = append(sent, &m)
		}
		s.write(sent...)
		var to sink
		_, stop := s.relay(&to)
		wait.Until(s, "nothing is pending", func() bool { return s.pending() == 0 })
		stop()
		if diff := cmp.Diff(want, to.all()); diff != "" {
			s.Errorf("written (-) and published (+): %s", diff)
		}
	})
}

// Transactions that publish one key are published in the order in which they
// committed, whatever they do first.
func TestOrderOfCommits(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		const keys, writers, each = 4, 4, 15
		for key := range keys {
			s.exec(fmt.Sprintf(`INSERT INTO %s_state (name, n) VALUES ('k%d', 0)`, s.table, key))
		}
		var to sink
		s.relay(&to, outbox.WithBatch(7))
		var mu sync.Mutex
		order := make(map[string]int) // of the commits of a key, by ID
		var writing sync.WaitGroup
		for range writers {
			writing.Go(func() {
				for i := range each * keys {
					key := fmt.Sprint("k", i%keys)
					m := message(key, "")
					var n int
					if err := s.inTx(func(tx *sql.Tx) error {
						if err := s.box.Publisher(tx).Publish(s.Context(), m); err != nil { // before the row that tells the order
							return err
						}
						return tx.QueryRowContext(s.Context(), fmt.Sprintf(`UPDATE %s_state SET n = n + 1 WHERE name = '%s' RETURNING n`, s.table, key)).Scan(&n)
					}); err != nil {
						s.Error(err)
						return
					}
					mu.Lock()
					order[m.ID] = n
					mu.Unlock()
				}
			})
		}
		writing.Wait()
		wait.Until(s, "nothing is pending", func() bool { return s.pending() == 0 })
		last := make(map[string]int)
		for _, m := range to.all() {
			if n := order[m.ID]; n != last[string(m.Key)]+1 {
				s.Errorf("key %s: the event of commit %d came after that of %d", m.Key, n, last[string(m.Key)])
			}
			last[string(m.Key)]++
		}
		if n := len(to.all()); n != keys*writers*each {
			s.Errorf("%d events were published, want %d", n, keys*writers*each)
		}
	})
}

// A message that cannot be a row is rejected before it costs the transaction.
func TestPublishInvalid(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		err := s.inTx(func(tx *sql.Tx) error {
			for name, bad := range map[string]*pubsub.Message{
				"nil":     nil,
				"topic":   {Topic: "a topic"},
				"ID":      {Topic: "t", ID: "\xff"},
				"subject": {Topic: "t", Subject: "a\x00b"},
			} {
				err := s.box.Publisher(tx).Publish(s.Context(), message("k", "beside"), bad)
				failure, ok := errors.AsType[*pubsub.PublishError](err)
				if !ok || !errors.Is(failure.Results[0], pubsub.ErrNotSent) || !errors.Is(failure.Results[1], pubsub.ErrRejected) {
					s.Errorf("%s: Publish returned %v", name, err)
				}
			}
			return s.box.Publisher(tx).Publish(s.Context(), message("k", "good"))
		})
		if n := s.pending(); err != nil || n != 1 {
			s.Errorf("%v; %d events are pending, want 1", err, n)
		}
		missing := outbox.Must(s.dialect, outbox.WithTable(s.table+"_missing"))
		err = s.inTx(func(tx *sql.Tx) error { return missing.Publisher(tx).Publish(s.Context(), message("k", "v")) })
		if !errors.Is(err, pubsub.ErrNotSent) || !contains(err, "outbox: write to "+s.table+"_missing") {
			s.Errorf("without a table Publish returned %v", err)
		}
	})
}

func TestLag(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		if lag, err := s.box.Lag(s.Context(), s.db); err != nil || lag != (outbox.Lag{}) {
			s.Errorf("lag of an empty outbox: %+v, %v", lag, err)
		}
		s.write(message("a", "1"), message("b", "2"))
		s.exec(`UPDATE ` + s.table + ` SET created = created - 60000 WHERE seq = 1`)
		lag, err := s.box.Lag(s.Context(), s.db)
		if err != nil || lag.Pending != 2 || lag.Oldest < time.Minute || lag.Oldest > 2*time.Minute {
			s.Errorf("lag %+v, %v, want 2 events and a minute", lag, err)
		}
		missing := outbox.Must(s.dialect, outbox.WithTable(s.table+"_missing"))
		if _, err := missing.Lag(s.Context(), s.db); !contains(err, "outbox: lag of "+s.table+"_missing") {
			s.Errorf("without a table Lag returned %v", err)
		}
	})
}

// The schema can be executed again, and a table may be in a schema of PostgreSQL.
func TestSchema(t *testing.T) {
	t.Parallel()
	everywhere(t, func(s *setup) {
		s.exec(s.box.Schema())
		prefix := "main."
		if s.dialect == outbox.PostgreSQL {
			prefix = "public."
		}
		box := outbox.Must(s.dialect, outbox.WithTable(prefix+s.table))
		var to sink
		relay, err := box.Relay(s.db, &to, outbox.WithPoll(time.Millisecond), outbox.WithLogger(quiet))
		if err != nil {
			s.Fatal(err)
		}
		if err := s.inTx(func(tx *sql.Tx) error { return box.Publisher(tx).Publish(s.Context(), message("k", "v")) }); err != nil {
			s.Fatal(err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		ended := make(chan error, 1)
		go func() { ended <- relay.Run(ctx) }()
		wait.Until(s, "the event is published", func() bool { return len(to.values("")) == 1 })
		if err := relay.Run(s.Context()); !contains(err, "runs already") {
			s.Errorf("a second Run returned %v", err)
		}
		cancel()
		if err := <-ended; err != nil {
			s.Error(err)
		}
	})
	for d, part := range map[outbox.Dialect]string{outbox.PostgreSQL: "GENERATED ALWAYS AS IDENTITY", outbox.SQLite: "AUTOINCREMENT"} {
		if text := outbox.Schema(d); !strings.Contains(text, part) || !strings.Contains(text, "micro_outbox") || strings.Contains(text, "$") {
			t.Errorf("schema of %s: %s", d, text)
		}
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]func() error{
		`dialect "oracle"`: func() error { _, err := outbox.New("oracle"); return err },
		`table "a b"`:      func() error { _, err := outbox.New(outbox.SQLite, outbox.WithTable("a b")); return err },
		`table "a.b.c"`:    func() error { _, err := outbox.New(outbox.SQLite, outbox.WithTable("a.b.c")); return err },
		`table "a;--"`:     func() error { _, err := outbox.New(outbox.SQLite, outbox.WithTable("a;--")); return err },
		"nil Option":       func() error { _, err := outbox.New(outbox.SQLite, nil); return err },
	} {
		if err := f(); !contains(err, "outbox: "+want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
	box, db := outbox.Must(outbox.SQLite), openDB(t, outbox.SQLite, ":memory:")
	defer db.Close()
	for want, opt := range map[string]outbox.RelayOption{
		"nil RelayOption": nil,
		"poll interval":   outbox.WithPoll(0),
		"batch of 0":      outbox.WithBatch(0),
		"lease of 1ms":    outbox.WithLease(time.Millisecond),
		"keep for -1s":    outbox.WithKeep(-time.Second),
		"nil logger":      outbox.WithLogger((*slog.Logger)(nil)),
	} {
		if _, err := box.Relay(db, &sink{}, opt); !contains(err, "outbox: ", want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
	if _, err := box.Relay(nil, nil); !contains(err, "needs a database and a publisher") {
		t.Errorf("got error %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Must did not panic")
		}
	}()
	outbox.Must("oracle")
}
