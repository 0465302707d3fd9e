package pubsub

import (
	"errors"
	"fmt"
	"time"
)

// Check reports what keeps m from being published: a topic name that Kafka
// would refuse, or a header that stands for a field. Publish rejects such a
// message on every broker.
func (m *Message) Check() error {
	if m == nil {
		return errors.New("pubsub: nil message")
	}
	if err := checkName("topic", m.Topic); err != nil {
		return err
	}
	return m.checkHeader()
}

func (m *Message) checkHeader() error {
	for _, a := range m.Header {
		switch a.Key {
		case "":
			return errors.New("pubsub: header without a key")
		case "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "content-type":
			return fmt.Errorf("pubsub: header %s: set the field of Message instead", a.Key)
		}
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
