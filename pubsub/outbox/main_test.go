package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // driver "sqlite"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/outbox"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashEnv) != "" {
		crash()
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

// setup is an empty outbox in a database.
type setup struct {
	testing.TB

	dialect outbox.Dialect
	source  string // for sql.Open
	table   string
	box     *outbox.Outbox
	db      *sql.DB
}

// everywhere runs a test on a SQLite file of its own, and in a table of its own
// on the PostgreSQL server that POSTGRES_URL names.
func everywhere(t *testing.T, test func(*setup)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "test.db")
		test(newSetup(t, outbox.SQLite, "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		url := os.Getenv("POSTGRES_URL")
		if url == "" {
			t.Skip("POSTGRES_URL is not set")
		}
		test(newSetup(t, outbox.PostgreSQL, url))
	})
}

var tables atomic.Int64

func newSetup(t testing.TB, d outbox.Dialect, source string) *setup {
	t.Helper()
	s := &setup{TB: t, dialect: d, source: source, table: fmt.Sprintf("outbox_%d_%d", os.Getpid(), tables.Add(1))}
	s.box = outbox.Must(d, outbox.WithTable(s.table))
	s.db = openDB(t, d, source)
	s.exec(s.box.Schema())
	s.exec(`CREATE TABLE ` + s.table + `_state (name text PRIMARY KEY, n bigint NOT NULL)`)
	t.Cleanup(func() {
		for _, table := range []string{"", "_lease", "_state"} {
			if _, err := s.db.ExecContext(context.Background(), `DROP TABLE `+s.table+table); err != nil {
				t.Error(err)
			}
		}
		if err := s.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openDB(t testing.TB, d outbox.Dialect, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(map[outbox.Dialect]string{outbox.PostgreSQL: "pgx", outbox.SQLite: "sqlite"}[d], source)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func (s *setup) exec(query string, args ...any) {
	s.Helper()
	if _, err := s.db.ExecContext(s.Context(), query, args...); err != nil {
		s.Fatalf("%s: %v", query, err)
	}
}

// inTx runs f in a transaction, which commits if f returns nil.
func (s *setup) inTx(f func(tx *sql.Tx) error) error {
	s.Helper()
	tx, err := s.db.BeginTx(s.Context(), nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		if err := tx.Rollback(); err != nil {
			s.Error(err)
		}
		return err
	}
	return tx.Commit()
}

// write commits messages.
func (s *setup) write(msgs ...*pubsub.Message) {
	s.Helper()
	if err := s.inTx(func(tx *sql.Tx) error { return s.box.Publisher(tx).Publish(s.Context(), msgs...) }); err != nil {
		s.Fatal(err)
	}
}

// relay runs a relay to p until the test ends, or the caller ends it.
func (s *setup) relay(p pubsub.Publisher, opts ...outbox.RelayOption) (r *outbox.Relay, stop func()) {
	s.Helper()
	r, err := s.box.Relay(s.db, p, append([]outbox.RelayOption{outbox.WithPoll(5 * time.Millisecond), outbox.WithLogger(quiet)}, opts...)...)
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx); err != nil {
			s.Errorf("Run: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	s.Cleanup(stop)
	return r, stop
}

// pending returns how many events are not published.
func (s *setup) pending() int64 {
	s.Helper()
	lag, err := s.box.Lag(s.Context(), s.db)
	if err != nil {
		s.Fatal(err)
	}
	return lag.Pending
}

// sink is a publisher that notes what it gets. fails, if set, says which message
// it does not take.
type sink struct {
	mu    sync.Mutex
	got   []*pubsub.Message
	calls int
	fails func(*pubsub.Message) error
}

func (s *sink) Publish(_ context.Context, msgs ...*pubsub.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	results := make([]error, len(msgs))
	failed := make(map[string]bool)
	for i, m := range msgs {
		switch {
		case m.Key != nil && failed[string(m.Key)]:
			results[i] = fmt.Errorf("%w: behind another", pubsub.ErrNotSent)
		case s.fails != nil:
			results[i] = s.fails(m)
		}
		if results[i] == nil {
			s.got = append(s.got, m)
			continue
		}
		failed[string(m.Key)] = true
	}
	if len(failed) > 0 {
		return &pubsub.PublishError{Results: results}
	}
	return nil
}

func (s *sink) setFails(f func(*pubsub.Message) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = f
}

func (s *sink) all() []*pubsub.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// values returns what it got of a key, in order; "" is any key.
func (s *sink) values(key string) []string {
	var values []string
	for _, m := range s.all() {
		if key == "" || string(m.Key) == key {
			values = append(values, string(m.Value))
		}
	}
	return values
}

func message(key, value string) *pubsub.Message {
	return &pubsub.Message{Topic: "t", Key: []byte(key), Value: []byte(value)}
}

func contains(err error, parts ...string) bool {
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			return false
		}
	}
	return true
}
