package main

import (
	"time"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	microv1 "github.com/grpc-micro/micro/proto/micro/v1"
)

// eventOf returns the annotation of a message, or nil if it is no event.
func eventOf(m *protogen.Message) *microv1.Event {
	if !proto.HasExtension(m.Desc.Options(), microv1.E_Event) {
		return nil
	}
	event, _ := proto.GetExtension(m.Desc.Options(), microv1.E_Event).(*microv1.Event)
	return event
}

// isKey reports whether a field is annotated as one; false says what is true
// without it.
func isKey(f *protogen.Field) bool {
	key, _ := proto.GetExtension(f.Desc.Options(), microv1.E_Key).(bool)
	return key
}

// keyOf returns the field by which the event's order is kept, or nil.
func keyOf(m *protogen.Message) *protogen.Field {
	for _, f := range m.Fields {
		if isKey(f) {
			return f
		}
	}
	return nil
}

// methodOf returns the annotation of a method, or nil.
func methodOf(m *protogen.Method) *microv1.Method {
	options, _ := proto.GetExtension(m.Desc.Options(), microv1.E_Method).(*microv1.Method)
	return options
}

// timeoutOf returns the deadline of a method's calls, or 0.
func timeoutOf(m *protogen.Method) time.Duration { return methodOf(m).GetTimeout().AsDuration() }

// repeatable reports whether the method's author says that a call may be sent
// again when nobody knows what became of it.
func repeatable(m *protogen.Method) bool {
	options, _ := m.Desc.Options().(*descriptorpb.MethodOptions)
	switch options.GetIdempotencyLevel() {
	case descriptorpb.MethodOptions_NO_SIDE_EFFECTS, descriptorpb.MethodOptions_IDEMPOTENT:
		return true
	default:
		return false
	}
}

// deprecated is for whatever has that option: services and messages.
func deprecated(d protoreflect.Descriptor) bool {
	options, ok := d.Options().(interface{ GetDeprecated() bool })
	return ok && options.GetDeprecated()
}

// generates reports whether the file has anything that we write code for.
func generates(file *protogen.File) bool { return len(file.Services) > 0 || len(events(file)) > 0 }

// events returns the messages of a file that are events.
func events(file *protogen.File) []*protogen.Message {
	var out []*protogen.Message
	for _, m := range allMessages(file.Messages) {
		if eventOf(m) != nil {
			out = append(out, m)
		}
	}
	return out
}

// allMessages returns the messages of a file, nested ones too.
func allMessages(messages []*protogen.Message) []*protogen.Message {
	var out []*protogen.Message
	for _, m := range messages {
		if m.Desc.IsMapEntry() {
			continue
		}
		out = append(append(out, m), allMessages(m.Messages)...)
	}
	return out
}
