package inbox

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	microv1 "github.com/grpc-micro/micro/proto/micro/v1"
	"github.com/grpc-micro/micro/pubsub"
)

const (
	deliverMethod = "/micro.v1.Inbox/Deliver"

	// maxEvent bounds an event, and maxRequest the call that carries one.
	maxEvent   = 4 << 20
	maxRequest = maxEvent + 1<<10
)

// check finds what could never be delivered, before it is in the log.
func check(m *pubsub.Message) error {
	size := len(m.Key) + len(m.Value) + len(m.ID) + len(m.Type) + len(m.Source) + len(m.Subject) + len(m.ContentType) + len(m.Topic)
	for _, a := range m.Header {
		size += len(a.Key) + len(a.Value) + 16
		if !utf8.ValidString(a.Key) {
			return fmt.Errorf("header %q is no text", a.Key)
		}
	}
	if size > maxEvent {
		return fmt.Errorf("it has about %d bytes, and %d are allowed: make it smaller", size, maxEvent)
	}
	if text := strings.Join([]string{m.ID, m.Type, m.Source, m.Subject, m.ContentType}, "\n"); !utf8.ValidString(text) {
		return fmt.Errorf("an attribute of it is no text: %q", text)
	}
	return nil
}

func encode(m *pubsub.Message) *microv1.InboxEvent {
	e := &microv1.InboxEvent{
		Id: m.ID, Type: m.Type, Source: m.Source, Subject: m.Subject, Topic: m.Topic, ContentType: m.ContentType,
		Key: m.Key, Value: m.Value, Time: timestamppb.New(m.Time),
	}
	for _, a := range m.Header {
		e.Header = append(e.Header, &microv1.InboxAttribute{Key: a.Key, Value: a.Value})
	}
	return e
}

// decode is encode's way back, of what anybody may have sent.
func decode(e *microv1.InboxEvent) *pubsub.Message {
	m := &pubsub.Message{
		ID: e.GetId(), Type: e.GetType(), Source: e.GetSource(), Subject: e.GetSubject(), Topic: e.GetTopic(), ContentType: e.GetContentType(),
		Key: e.GetKey(), Value: e.GetValue(), Time: e.GetTime().AsTime(),
	}
	for _, a := range e.GetHeader() {
		m.Header = append(m.Header, pubsub.Attr{Key: a.GetKey(), Value: a.GetValue()})
	}
	pubsub.Received(m, time.Now())
	return m
}
