package pubsub

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Check reports what keeps m from being published: a topic name that Kafka
// would refuse, a header that stands for a field, or a time that cannot be
// written. Publish rejects such a message on every broker.
func (m *Message) Check() error {
	if m == nil {
		return errors.New("pubsub: nil message")
	}
	if err := checkName("topic", m.Topic); err != nil {
		return err
	}
	return m.checkRest()
}

func (m *Message) checkRest() error {
	if !hasText(m.Time) {
		return fmt.Errorf("pubsub: time %v: CloudEvents has a text for the years 1 to 9999 only", m.Time)
	}
	for _, a := range m.Header {
		if err := checkKey(a.Key); err != nil {
			return err
		}
	}
	return nil
}

// hasText reports whether RFC 3339, which CloudEvents uses, can write t in UTC.
func hasText(t time.Time) bool {
	const year1, year10000 = -62_135_596_800, 253_402_300_800 // seconds of the Unix era, as google.protobuf.Timestamp has them
	second := t.Unix()
	return year1 <= second && second < year10000
}

func checkKey(key string) error {
	switch key {
	case "":
		return errors.New("pubsub: header without a key")
	case "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "content-type":
		return fmt.Errorf("pubsub: header %s: set the field of Message instead", key)
	}
	return nil
}

// Prepare is what a driver's Publish begins with: it checks msgs, and fills in
// an empty ID and a zero Time. If one of them cannot be published, none is
// sent, because the order of its key would be lost: the result of a bad one
// wraps [ErrRejected], that of the others [ErrNotSent].
func Prepare(msgs []*Message) error {
	var results []error
	for i, m := range msgs {
		if err := m.Check(); err != nil {
			if results == nil {
				results = make([]error, len(msgs))
			}
			results[i] = &outcome{ErrRejected, err}
		}
	}
	if results != nil {
		for i, err := range results {
			if err == nil {
				results[i] = &outcome{ErrNotSent, errBeside}
			}
		}
		return &PublishError{results}
	}
	for _, m := range msgs {
		if m.Time.IsZero() {
			m.Time = time.Now().Round(0) // without the monotonic reading, which does not travel
		}
		if m.ID == "" {
			m.ID = newID(m.Time)
		}
	}
	return nil
}

// Received is what a driver does last with a message that it has read, of which
// anybody may be the producer: it takes out what could not be published again, as a
// dead letter must be, and would hold up its key for ever. Header keeps no attribute
// without a key, and none with that of a field. A Time that is missing or cannot be
// written gives way to stored, when the broker took the message in, and to none if
// that is no better.
func Received(m *Message, stored time.Time) {
	if m.Time.IsZero() || !hasText(m.Time) {
		m.Time = stored
	}
	if !hasText(m.Time) {
		m.Time = time.Time{}
	}
	m.Header = slices.DeleteFunc(m.Header, func(a Attr) bool { return checkKey(a.Key) != nil })
}

var errBeside = errors.New("pubsub: another message of the call was rejected")

// maxName is Kafka's limit for the name of a topic.
const maxName = 249

// checkName holds topics and groups to Kafka's rule for topics, on every
// broker, so that what works in memory works there: groups too, because they
// are part of the name of a dead-letter topic.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("pubsub: %s without a name", what)
	case len(name) > maxName:
		return fmt.Errorf("pubsub: %s %q… has %d characters, and %d are allowed", what, name[:32], len(name), maxName)
	case name == "." || name == "..":
		return fmt.Errorf("pubsub: %s cannot be named %q", what, name)
	}
	for i := range len(name) { // each message comes by here
		if !nameChars[name[i]] {
			return fmt.Errorf("pubsub: %s %q: only letters, digits, '.', '_' and '-' are allowed", what, name)
		}
	}
	return nil
}

// nameChars are the bytes that a name may have.
var nameChars = func() (allowed [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") {
		allowed[c] = true
	}
	return allowed
}()
