package kafka

import (
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka/internal/wire"
)

// The header names of CloudEvents in Kafka's binary content mode (CloudEvents
// Kafka protocol binding 1.0.2, section 3.2). Values are UTF-8 text as it is.
const (
	headerSpec    = "ce_specversion"
	headerID      = "ce_id"
	headerSource  = "ce_source"
	headerType    = "ce_type"
	headerSubject = "ce_subject"
	headerTime    = "ce_time"
	headerContent = "content-type"

	specVersion = "1.0"
)

// headerWriter makes the headers of one message after the other. What the message
// before had too, which is all but its ID and its time as a rule, stays as it is.
type headerWriter struct {
	headers wire.Headers

	same                              wire.Mark // behind the attributes of
	source, typ, subject, contentType string

	second  int64  // of the Unix era
	clock   []byte // it as text
	instant []byte
}

// write returns the headers of m, which are w's until the next call.
func (w *headerWriter) write(m *pubsub.Message) *wire.Headers {
	h := &w.headers
	if w.same == (wire.Mark{}) || w.source != m.Source || w.typ != m.Type || w.subject != m.Subject || w.contentType != m.ContentType {
		h.Cut(wire.Mark{})
		h.AddText(headerSpec, specVersion)
		w.source, w.typ, w.subject, w.contentType = m.Source, m.Type, m.Subject, m.ContentType
		w.attribute(headerSource, w.source)
		w.attribute(headerType, w.typ)
		w.attribute(headerSubject, w.subject)
		w.attribute(headerContent, w.contentType)
		w.same = h.Mark()
	}
	h.Cut(w.same)
	w.attribute(headerID, m.ID)
	h.Add(headerTime, w.rfc3339(m.Time.UTC()))
	for _, a := range m.Header {
		h.Add(a.Key, a.Value)
	}
	return h
}

// attribute adds an attribute, if there is one.
func (w *headerWriter) attribute(key, value string) {
	if value != "" {
		w.headers.AddText(key, value)
	}
}

// rfc3339 returns t as [time.RFC3339Nano] has it, until the next call. Messages of
// one second share all but the fraction, which is the smaller part of the work.
func (w *headerWriter) rfc3339(t time.Time) []byte {
	if second := t.Unix(); second != w.second || w.clock == nil {
		w.second, w.clock = second, t.AppendFormat(w.clock[:0], "2006-01-02T15:04:05")
	}
	w.instant = append(w.instant[:0], w.clock...)
	if nano := t.Nanosecond(); nano > 0 {
		digits := 9
		for ; nano%10 == 0; digits-- {
			nano /= 10
		}
		w.instant = append(w.instant, ".000000000"[:1+digits]...)
		for i := len(w.instant) - 1; nano > 0; i-- {
			w.instant[i] = byte('0' + nano%10)
			nano /= 10
		}
	}
	w.instant = append(w.instant, 'Z')
	return w.instant
}

// headerSize is how many bytes a message's headers take at most, lengths
// included.
func headerSize(m *pubsub.Message) int {
	const fixed = 160 // the names of all attributes, their lengths, the version and the time
	size := fixed + len(m.ID) + len(m.Source) + len(m.Type) + len(m.Subject) + len(m.ContentType)
	for _, a := range m.Header {
		size += len(a.Key) + len(a.Value) + 10
	}
	return size
}

// headerReader reads headers, and gives equal attributes of one message after
// the other the same memory.
type headerReader struct {
	memory

	source, typ, subject, contentType string
}

// read fills m's attributes; stored is the record's time. Of an attribute that is
// there more than once the last one counts. Every other header goes to m.Header. A
// message without attributes, of a producer that knows nothing of CloudEvents, has
// none. m keeps nothing of headers' memory.
func (r *headerReader) read(headers []kafkago.Header, stored time.Time, m *pubsub.Message) {
	defer pubsub.Received(m, stored)
	foreign := 0
	for _, h := range headers {
		switch h.Key {
		case headerSpec, "":
		case headerID:
			m.ID = r.string(h.Value)
		case headerSource:
			m.Source = intern(&r.source, h.Value)
		case headerType:
			m.Type = intern(&r.typ, h.Value)
		case headerSubject:
			m.Subject = intern(&r.subject, h.Value)
		case headerContent:
			m.ContentType = intern(&r.contentType, h.Value)
		case headerTime:
			var t time.Time
			if t.UnmarshalText(h.Value) == nil {
				m.Time = t
			}
		default:
			foreign++
		}
	}
	if foreign == 0 {
		return
	}
	m.Header = make(pubsub.Header, 0, foreign)
	for _, h := range headers {
		switch h.Key {
		case headerSpec, headerID, headerSource, headerType, headerSubject, headerTime, headerContent, "":
		default:
			m.Header = append(m.Header, pubsub.Attr{Key: h.Key, Value: r.clone(h.Value)})
		}
	}
}

// intern returns text as a string, the one in last if that is equal.
func intern(last *string, text []byte) string {
	if *last != string(text) {
		*last = string(text)
	}
	return *last
}
