package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/grpc-micro/micro/internal/attrs"
	"github.com/grpc-micro/micro/pubsub"
)

// event is a row.
type event struct {
	seq, lane int64
	message   *pubsub.Message
}

// read returns the oldest events that are not published, without those whose key
// is held back.
func (r *Relay) read(ctx context.Context) ([]event, error) {
	held, ok := r.held.now()
	if !ok {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := r.db.QueryContext(ctx, r.box.queries.pending(held), r.batch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	events := make([]event, 0, r.batch)
	for rows.Next() {
		var e event
		var m pubsub.Message
		var key, value any
		var at, header string
		if err := rows.Scan(&e.seq, &e.lane, &m.ID, &m.Type, &m.Source, &m.Subject, &m.Topic, &m.ContentType, &key, &value, &at, &header); err != nil {
			return nil, err
		}
		m.Key, m.Value = bytesOf(key), bytesOf(value)
		var ok bool
		if m.Header, ok = attrs.Decode(header); !ok {
			return nil, fmt.Errorf("row %d: its header, %q, was not written by this package: mend or delete the row", e.seq, header)
		}
		if m.Time, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return nil, fmt.Errorf("row %d: its time: %w: mend or delete the row", e.seq, err)
		}
		e.message = &m
		events = append(events, e)
	}
	return events, rows.Err()
}

// bytesOf tells no value from an empty one, which a driver may give as nil bytes.
func bytesOf(v any) []byte {
	switch v := v.(type) {
	case []byte:
		return append([]byte{}, v...)
	case string:
		return []byte(v)
	}
	return nil
}
