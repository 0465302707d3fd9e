package nats

import (
	"hash/fnv"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/grpc-micro/micro/internal/attrs"
	"github.com/grpc-micro/micro/pubsub"
)

// The header names of CloudEvents in NATS's binary content mode (CloudEvents
// NATS protocol binding 1.0.3, section 3.1), and our own.
const (
	cePrefix = "ce-"

	headerSpec    = cePrefix + "specversion"
	headerID      = cePrefix + "id"
	headerSource  = cePrefix + "source"
	headerType    = cePrefix + "type"
	headerSubject = cePrefix + "subject"
	headerTime    = cePrefix + "time"
	headerContent = cePrefix + "datacontenttype"
	headerKey     = cePrefix + "partitionkey" // of the extension Partitioning

	headerTombstone = "micro-tombstone"
	headerAll       = "micro-header" // the whole Header, where the plain ones cannot say it

	plainContent = "content-type"
	msgID        = "nats-msg-id"
	notePrefix   = "micro-" // of attributes that package pubsub adds

	specVersion = "1.0"
)

// encode returns m for the stream.
func encode(m *pubsub.Message, subject string) *natsgo.Msg {
	h := make(natsgo.Header, 10)
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{percent(value)}
		}
	}
	h[headerSpec] = []string{specVersion}
	h[jetstream.MsgIDHeader] = []string{dedupID(m)}
	set(headerID, m.ID)
	set(headerSource, m.Source)
	set(headerType, m.Type)
	set(headerSubject, m.Subject)
	set(headerTime, m.Time.UTC().Format(time.RFC3339Nano))
	set(headerContent, m.ContentType)
	if m.Key != nil {
		h[headerKey] = []string{percent(string(m.Key))}
	}
	if m.Value == nil {
		h[headerTombstone] = []string{"1"}
	}
	last, all := "", false
	for _, a := range m.Header {
		name, ok := plainName(a.Key)
		ok = ok && plainValue(a.Value)
		if ok {
			h[name] = append(h[name], string(a.Value))
		}
		all = all || !ok || a.Key < last
		last = a.Key
	}
	if all {
		h[headerAll] = []string{attrs.Encode(m.Header)}
	}
	return &natsgo.Msg{Subject: subject, Header: h, Data: m.Value}
}

// dedupID is what names a publication: the event's ID within its Source, and
// what package pubsub has noted on its way. Dead letters, redriven messages and
// those for a later try are publications of their own, with the ID of the event,
// and must not be taken for repeats of each other.
func dedupID(m *pubsub.Message) string {
	id := percent(m.ID)
	if m.Source != "" {
		id = percent(m.Source) + " " + id
	}
	notes := fnv.New64a()
	noted := false
	for _, a := range m.Header {
		if strings.HasPrefix(a.Key, notePrefix) {
			noted = true
			for _, part := range [][]byte{[]byte(a.Key), {0}, a.Value, {0}} {
				_, _ = notes.Write(part)
			}
		}
	}
	if noted {
		id += " " + strconv.FormatUint(notes.Sum64(), 16)
	}
	return id
}

// decode fills in a message's attributes. A message without any, of a producer
// that knows nothing of CloudEvents, has the ID by which it was deduplicated, if
// there is one, and the time at which it was stored.
func decode(h natsgo.Header, data []byte, topic string, stored time.Time) *pubsub.Message {
	m := &pubsub.Message{Topic: topic, Value: data}
	if m.Value == nil {
		m.Value = []byte{}
	}
	var all, plainType string
	var foreign []string
	for name, values := range h {
		if len(values) == 0 || name == "" {
			continue
		}
		value := values[len(values)-1]
		switch strings.ToLower(name) {
		case headerSpec, msgID:
		case headerID:
			m.ID = unpercent(value)
		case headerSource:
			m.Source = unpercent(value)
		case headerType:
			m.Type = unpercent(value)
		case headerSubject:
			m.Subject = unpercent(value)
		case headerContent:
			m.ContentType = unpercent(value)
		case headerKey:
			m.Key = []byte(unpercent(value))
		case headerTime:
			if t, err := time.Parse(time.RFC3339Nano, unpercent(value)); err == nil {
				m.Time = t
			}
		case headerTombstone:
			m.Value = nil
		case headerAll:
			all = value
		case plainContent:
			plainType = value
		default:
			foreign = append(foreign, name)
		}
	}
	if m.ContentType == "" {
		m.ContentType = plainType
	}
	m.Header = decodeHeader(h, foreign, all)
	if m.ID == "" {
		m.ID = h.Get(jetstream.MsgIDHeader)
	}
	pubsub.Received(m, stored)
	return m
}

// decodeHeader returns the attributes in the headers of the given names, or in
// micro-header.
func decodeHeader(h natsgo.Header, names []string, all string) pubsub.Header {
	if all != "" {
		if header, ok := attrs.Decode(all); ok {
			return header
		}
	}
	var header pubsub.Header
	slices.Sort(names)
	for _, name := range names {
		if key, ok := attrKey(name, strings.ToLower(name)); ok {
			for _, value := range h[name] {
				header = append(header, pubsub.Attr{Key: key, Value: []byte(value)})
			}
		}
	}
	return header
}

// plainName is the NATS header for an attribute's key. It is false for a key
// that is no header name, or that is the name of one with a meaning: what a
// message carries must not tell the server to roll a stream up, say.
func plainName(key string) (string, bool) {
	if extension, ok := strings.CutPrefix(key, "ce_"); ok {
		name := cePrefix + extension
		return name, isToken(extension) && extension == strings.ToLower(extension) && name != headerKey && name != headerContent
	}
	switch lower := strings.ToLower(key); {
	case strings.HasPrefix(lower, "nats-"), strings.HasPrefix(lower, cePrefix), lower == headerTombstone, lower == headerAll, lower == plainContent, lower == "status", lower == "description":
		return "", false
	}
	return key, isToken(key)
}

// attrKey is the attribute's key for a NATS header; false for what is the
// server's.
func attrKey(name, lower string) (string, bool) {
	if extension, ok := strings.CutPrefix(lower, cePrefix); ok {
		return "ce_" + extension, extension != ""
	}
	return name, !strings.HasPrefix(lower, "nats-")
}

func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return s != ""
}

// plainValue reports whether a header can hold the value: printable, and no
// space at its ends.
func plainValue(v []byte) bool {
	for _, c := range v {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return v != nil && (len(v) == 0 || v[0] != ' ' && v[len(v)-1] != ' ')
}

// percent encodes what the binding says: all but printable ASCII, and space,
// double quote and percent of it.
func percent(s string) string {
	const hex = "0123456789ABCDEF"
	i := 0
	for i < len(s) && isPlain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := append(make([]byte, 0, len(s)+16), s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; isPlain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func isPlain(c byte) bool { return c > ' ' && c <= '~' && c != '"' && c != '%' }

// unpercent decodes a value, which another program may have put in quotes. What
// is not encoded properly stays as it is.
func unpercent(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = unquote(s[1 : len(s)-1])
	}
	if !strings.Contains(s, "%") {
		return s
	}
	if text, err := url.PathUnescape(s); err == nil {
		return text
	}
	return s
}

// unquote takes the backslashes out of a quoted string.
func unquote(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}
