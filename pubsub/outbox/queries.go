package outbox

import (
	"regexp"
	"strconv"
	"strings"
)

// queries are the statements for one table, in its dialect.
type queries struct {
	dialect Dialect
	table   string

	lock   string // holds a lane until the transaction ends; "" where that is not needed
	claim  string // takes or keeps the lease
	resign string
	lag    string
	purge  string
}

// columns of an event, in the order in which it is written and read.
const columns = "lane, id, type, source, subject, topic, content_type, key, value, time, header"

const columnCount = 11

// nowOf is the database's clock in milliseconds of the Unix era: relays on many
// machines have to agree on when a lease is over.
var nowOf = map[Dialect]string{
	PostgreSQL: "(extract(epoch from clock_timestamp()) * 1000)::bigint",
	SQLite:     "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}

func schema(d Dialect, table string) string {
	const text = `CREATE TABLE IF NOT EXISTS $table (
	seq          $serial,
	lane         bigint NOT NULL,
	id           text NOT NULL,
	type         text NOT NULL,
	source       text NOT NULL,
	subject      text NOT NULL,
	topic        text NOT NULL,
	content_type text NOT NULL,
	key          $bytes,
	value        $bytes,
	time         text NOT NULL,
	header       text NOT NULL,
	created      bigint NOT NULL DEFAULT ($now),
	published    bigint
);
CREATE INDEX IF NOT EXISTS $name_pending ON $table (seq) WHERE published IS NULL;
CREATE INDEX IF NOT EXISTS $name_published ON $table (published) WHERE published IS NOT NULL;
CREATE TABLE IF NOT EXISTS $table_lease (
	name    text PRIMARY KEY,
	owner   text NOT NULL,
	expires bigint NOT NULL
);
`
	serial, bytes := "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "bytea"
	if d == SQLite {
		serial, bytes = "integer PRIMARY KEY AUTOINCREMENT", "blob"
	}
	return strings.NewReplacer("$table", table, "$name", unqualified(table), "$serial", serial, "$bytes", bytes, "$now", nowOf[d]).Replace(text)
}

func newQueries(d Dialect, table string) queries {
	q := queries{dialect: d, table: table}
	q.claim = q.text(`INSERT INTO $table_lease (name, owner, expires) VALUES ('relay', $1, $now + $2)
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires = excluded.expires
		WHERE $name_lease.owner = excluded.owner OR $name_lease.expires < $now`)
	q.resign = q.text(`UPDATE $table_lease SET expires = 0 WHERE name = 'relay' AND owner = $1`)
	q.lag = q.text(`SELECT count(*), min(created), $now FROM $table WHERE published IS NULL`)
	q.purge = q.text(`DELETE FROM $table WHERE published < $now - $1`)
	if d == PostgreSQL {
		q.lock = `SELECT pg_advisory_xact_lock($1)`
	}
	return q
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// text puts names and the dialect's parameters into a query.
func (q queries) text(query string) string {
	query = strings.NewReplacer("$table", q.table, "$name", unqualified(q.table), "$now", nowOf[q.dialect]).Replace(query)
	if q.dialect == SQLite {
		query = parameter.ReplaceAllString(query, "?$1")
	}
	return query
}

// insert writes n events.
func (q queries) insert(n int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO $table (" + columns + ") VALUES ")
	for i := range n {
		for c := range columnCount {
			switch {
			case c > 0:
				b.WriteString(", ")
			case i > 0:
				b.WriteString(", (")
			default:
				b.WriteByte('(')
			}
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(i*columnCount + c + 1))
		}
		b.WriteByte(')')
	}
	return q.text(b.String())
}

// pending reads what is to be published next, except what is in the lanes that
// are held back.
func (q queries) pending(held []int64) string {
	but := ""
	if len(held) > 0 {
		but = " AND lane NOT IN (" + join(held) + ")"
	}
	return q.text("SELECT seq, " + columns + " FROM $table WHERE published IS NULL" + but + " ORDER BY seq LIMIT $1")
}

// done takes events out, or marks them.
func (q queries) done(seqs []int64, keep bool) string {
	if keep {
		return q.text("UPDATE $table SET published = $now WHERE seq IN (" + join(seqs) + ")")
	}
	return q.text("DELETE FROM $table WHERE seq IN (" + join(seqs) + ")")
}

func join(numbers []int64) string {
	var b strings.Builder
	for i, n := range numbers {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(n, 10))
	}
	return b.String()
}
