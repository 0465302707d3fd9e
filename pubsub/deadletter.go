package pubsub

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DeadLetter says why a message is in a dead-letter topic, and where it was.
type DeadLetter struct {
	Topic     string
	Partition int
	Offset    int64
	Group     string // "" of a broadcast
	Attempts  int    // tries that the member made which gave up
	Time      time.Time
	Cause     string // the error
	Stack     string // of a panic, else ""
}

const (
	deadPrefix = "micro-dead-"

	deadTopic     = deadPrefix + "topic"
	deadPartition = deadPrefix + "partition"
	deadOffset    = deadPrefix + "offset"
	deadGroup     = deadPrefix + "group"
	deadAttempts  = deadPrefix + "attempts"
	deadTime      = deadPrefix + "time"
	deadCause     = deadPrefix + "cause"
	deadStack     = deadPrefix + "stack"

	// An error text or a stack must not make the message too large for the
	// dead-letter topic.
	maxCause = 2 << 10
	maxStack = 8 << 10
)

// DeadLetterOf reads the headers of a message from a dead-letter topic. It is
// false for any other message.
func DeadLetterOf(m *Message) (DeadLetter, bool) {
	if m.Header.Get(deadTopic) == nil {
		return DeadLetter{}, false
	}
	d := DeadLetter{
		Topic: string(m.Header.Get(deadTopic)),
		Group: string(m.Header.Get(deadGroup)),
		Cause: string(m.Header.Get(deadCause)),
		Stack: string(m.Header.Get(deadStack)),
	}
	// What another program wrote in a way that does not parse stays zero.
	d.Partition, _ = strconv.Atoi(string(m.Header.Get(deadPartition)))
	d.Offset, _ = strconv.ParseInt(string(m.Header.Get(deadOffset)), 10, 64)
	d.Attempts, _ = strconv.Atoi(string(m.Header.Get(deadAttempts)))
	d.Time, _ = time.Parse(time.RFC3339Nano, string(m.Header.Get(deadTime)))
	return d, true
}

// deadLetter returns the message that goes to topic in place of d: the same
// event, so its ID and its time too, with the headers of DeadLetterOf in place
// of those that an earlier failure left.
func deadLetter(topic string, d *Delivery, cause error) *Message {
	m := *d.Message
	m.Topic = topic
	m.Header = slices.DeleteFunc(slices.Clone(d.Header), func(a Attr) bool { return strings.HasPrefix(a.Key, deadPrefix) || a.Key == redriveGroup })
	add := func(key, value string) { m.Header = append(m.Header, Attr{key, []byte(value)}) }
	add(deadTopic, d.Topic)
	add(deadPartition, strconv.Itoa(d.Partition))
	add(deadOffset, strconv.FormatInt(d.Offset, 10))
	if d.Group != "" {
		add(deadGroup, d.Group)
	}
	add(deadAttempts, strconv.Itoa(d.Attempt))
	add(deadTime, time.Now().UTC().Format(time.RFC3339Nano))
	add(deadCause, clip(cause.Error(), maxCause))
	if p, ok := errors.AsType[*PanicError](cause); ok {
		add(deadStack, clip(string(p.Stack), maxStack))
	}
	return &m
}

// clip shortens s to n bytes, and whole characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
