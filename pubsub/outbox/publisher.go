package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grpc-micro/micro/internal/attrs"
	"github.com/grpc-micro/micro/pubsub"
)

// Execer is what a Publisher needs of a transaction: a *sql.Tx has it, and what
// wraps one.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

var (
	_ Execer           = (*sql.Tx)(nil)
	_ pubsub.Publisher = (*Publisher)(nil)
)

// Publisher writes events into the outbox, in one transaction.
type Publisher struct {
	box *Outbox
	tx  Execer
}

// Publisher returns a [pubsub.Publisher] for a transaction, for [pubsub.Topic]'s
// Publish, for one. It is as good as the transaction: with a *sql.DB in its
// place events are written, but neither with the state nor in order.
func (o *Outbox) Publisher(tx Execer) *Publisher { return &Publisher{box: o, tx: tx} }

// Publish implements [pubsub.Publisher]: nil says that the rows are written, and
// that the events will be published if the transaction commits. It fills in an
// empty ID and a zero Time, which a repeat has, too. Its error is a
// [pubsub.PublishError]; if a row could not be written, the transaction can only
// be rolled back. It may wait for another transaction that has published one of
// the keys.
func (p *Publisher) Publish(ctx context.Context, msgs ...*pubsub.Message) error {
	if err := pubsub.Prepare(msgs); err != nil {
		return err
	}
	for i, m := range msgs {
		if err := checkText(m); err != nil {
			return rejected(len(msgs), i, fmt.Errorf("outbox: message %s to %s: %w", m.ID, m.Topic, err))
		}
	}
	if err := p.write(ctx, msgs); err != nil {
		err = fmt.Errorf("%w: outbox: write to %s: %w", pubsub.ErrNotSent, p.box.table, err)
		return &pubsub.PublishError{Results: slices.Repeat([]error{err}, len(msgs))}
	}
	return nil
}

// insertRows bounds the rows of one statement, and so its parameters.
const insertRows = 100

func (p *Publisher) write(ctx context.Context, msgs []*pubsub.Message) error {
	lanes := make([]int64, len(msgs))
	for i, m := range msgs {
		lanes[i] = laneOf(m)
	}
	if p.box.queries.lock != "" {
		// Before the rows get their numbers: those of a key are then in the
		// order of the commits. By size, lest two transactions lock crosswise.
		var locks []int64
		for i, m := range msgs {
			if m.Key != nil {
				locks = append(locks, lanes[i]^hash(p.box.table))
			}
		}
		slices.Sort(locks)
		for _, l := range slices.Compact(locks) {
			if _, err := p.tx.ExecContext(ctx, p.box.queries.lock, l); err != nil {
				return fmt.Errorf("lock a key: %w", err)
			}
		}
	}
	for start := 0; start < len(msgs); start += insertRows {
		chunk := msgs[start:min(start+insertRows, len(msgs))]
		args := make([]any, 0, len(chunk)*columnCount)
		for i, m := range chunk {
			args = append(args, lanes[start+i], m.ID, m.Type, m.Source, m.Subject, m.Topic, m.ContentType,
				orNull(m.Key), orNull(m.Value), m.Time.UTC().Format(time.RFC3339Nano), attrs.Encode(m.Header))
		}
		if _, err := p.tx.ExecContext(ctx, p.box.queries.insert(len(chunk)), args...); err != nil {
			return err
		}
	}
	return nil
}

// laneOf is what has to stay in order: a key in a topic. A message without a key
// has a lane to itself.
func laneOf(m *pubsub.Message) int64 {
	if m.Key == nil {
		return hash(m.Topic, m.ID, "")
	}
	return hash(m.Topic, string(m.Key))
}

func hash(parts ...string) int64 {
	h := fnv.New64a()
	for _, part := range parts {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	return int64(h.Sum64())
}

// orNull keeps drivers from making an empty value of none.
func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// checkText finds what a text column would refuse, before it costs the
// transaction.
func checkText(m *pubsub.Message) error {
	for name, text := range map[string]string{"ID": m.ID, "type": m.Type, "source": m.Source, "subject": m.Subject, "content type": m.ContentType} {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			return fmt.Errorf("its %s, %q, is no text: databases refuse it", name, text)
		}
	}
	return nil
}

var errBeside = errors.New("outbox: another message of the call was rejected")

// rejected is the result of a call of n messages of which the one at i is bad.
func rejected(n, i int, cause error) error {
	results := slices.Repeat([]error{fmt.Errorf("%w: %w", pubsub.ErrNotSent, errBeside)}, n)
	results[i] = fmt.Errorf("%w: %w", pubsub.ErrRejected, cause)
	return &pubsub.PublishError{Results: results}
}
