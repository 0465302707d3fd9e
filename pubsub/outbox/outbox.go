package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Dialect is the SQL of a database.
type Dialect string

const (
	// PostgreSQL is version 10 or later.
	PostgreSQL Dialect = "postgresql"
	// SQLite is version 3.35 or later. Give connections a busy timeout: there
	// is one writer at a time.
	SQLite Dialect = "sqlite"
)

// Outbox is a table of events to be published. It holds no connection. Safe for
// concurrent use.
type Outbox struct {
	dialect Dialect
	table   string
	queries queries
}

// Option sets something of an Outbox.
type Option func(*Outbox)

// WithTable sets the name of the table, which may have a schema in front
// ("app.outbox"); that of the lease is the same with "_lease" behind. Default:
// "micro_outbox".
func WithTable(name string) Option { return func(o *Outbox) { o.table = name } }

// New returns the outbox of a database.
func New(d Dialect, opts ...Option) (*Outbox, error) {
	o := &Outbox{dialect: d, table: "micro_outbox"}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("outbox: nil Option")
		}
		opt(o)
	}
	switch {
	case d != PostgreSQL && d != SQLite:
		return nil, fmt.Errorf("outbox: dialect %q: use PostgreSQL or SQLite", d)
	case !tableName.MatchString(o.table):
		return nil, fmt.Errorf("outbox: table %q: letters, digits and _ are allowed, and a schema with a dot in front", o.table)
	}
	o.queries = newQueries(d, o.table)
	return o, nil
}

// Must is New for package variables: it panics where New returns an error.
func Must(d Dialect, opts ...Option) *Outbox {
	o, err := New(d, opts...)
	if err != nil {
		panic(err)
	}
	return o
}

// tableName keeps what goes into the queries as text harmless; PostgreSQL cuts
// names at 63 characters, and ours get something behind.
var tableName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,49}$`)

// Schema returns the statements that make the tables, if they do not exist, with
// a semicolon behind each: for a migration, or to be executed as they are.
func (o *Outbox) Schema() string { return schema(o.dialect, o.table) }

// Schema returns [Outbox.Schema] of the default table.
func Schema(d Dialect) string { return schema(d, "micro_outbox") }

// Lag is how far the relays are behind.
type Lag struct {
	Pending int64         // events that are not published yet
	Oldest  time.Duration // for how long the oldest of them waits; 0 without any
}

// Lag counts what waits: it reads all of it, so ask some times a minute, and not
// some times a second.
func (o *Outbox) Lag(ctx context.Context, db *sql.DB) (Lag, error) {
	var l Lag
	var oldest, now sql.NullInt64
	if err := db.QueryRowContext(ctx, o.queries.lag).Scan(&l.Pending, &oldest, &now); err != nil {
		return Lag{}, fmt.Errorf("outbox: lag of %s: %w", o.table, err)
	}
	if oldest.Valid {
		l.Oldest = max(time.Duration(now.Int64-oldest.Int64)*time.Millisecond, 0)
	}
	return l, nil
}

// unqualified is the table's name without its schema.
func unqualified(table string) string { return table[strings.LastIndexByte(table, '.')+1:] }
