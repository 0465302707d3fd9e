package kafka

import (
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/pubsub"
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

// headerWriter makes the headers of one message after the other, in memory that
// the next one uses again.
type headerWriter struct {
	headers []kafkago.Header
	text    []byte
}

func (w *headerWriter) write(m *pubsub.Message) []kafkago.Header {
	w.headers, w.text = w.headers[:0], w.text[:0]
	w.add(headerSpec, specVersion)
	w.add(headerID, m.ID)
	w.add(headerSource, m.Source)
	w.add(headerType, m.Type)
	w.add(headerSubject, m.Subject)
	start := len(w.text)
	w.text = m.Time.UTC().AppendFormat(w.text, time.RFC3339Nano)
	w.headers = append(w.headers, kafkago.Header{Key: headerTime, Value: w.text[start:len(w.text):len(w.text)]})
	w.add(headerContent, m.ContentType)
	for _, a := range m.Header {
		w.headers = append(w.headers, kafkago.Header{Key: a.Key, Value: a.Value})
	}
	return w.headers
}

// add adds an attribute, if there is one. When text has to grow, the values
// before keep the memory that they had.
func (w *headerWriter) add(key, value string) {
	if value == "" {
		return
	}
	start := len(w.text)
	w.text = append(w.text, value...)
	w.headers = append(w.headers, kafkago.Header{Key: key, Value: w.text[start:len(w.text):len(w.text)]})
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

// read fills m's attributes. Of an attribute that is there more than once the
// last one counts. Every other header goes to m.Header, but for one without a
// name, which could not be published again. A message without attributes, of a
// producer that knows nothing of CloudEvents, has none. m keeps nothing of
// headers' memory.
func (r *headerReader) read(headers []kafkago.Header, m *pubsub.Message) {
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
			if t.UnmarshalText(h.Value) == nil && !t.IsZero() {
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
