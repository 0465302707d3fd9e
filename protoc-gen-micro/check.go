package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	microv1 "github.com/grpc-micro/micro/proto/micro/v1"
)

// Numbers of the options in their descriptors, as source positions name them.
const (
	messageOptions = 7
	fieldOptions   = 8
	methodOptions  = 4
	annotation     = 73167
)

// checker collects what is wrong, so that it is mended in one go.
type checker struct {
	problems []string
	topics   map[string]protoreflect.Descriptor // by name: the event that has it
}

// check reports every wrong annotation in the files to generate, as
// file:line:column: what, and what instead.
func check(gen *protogen.Plugin) error {
	c := &checker{topics: make(map[string]protoreflect.Descriptor)}
	for _, file := range gen.Files { // imports come before those that import them
		for _, m := range allMessages(file.Messages) {
			if file.Generate {
				c.message(m)
			} else if event := eventOf(m); event != nil {
				c.topics[event.GetTopic()] = m.Desc
			}
		}
		if !file.Generate {
			continue
		}
		c.extensions(file.Extensions)
		for _, service := range file.Services {
			for _, method := range service.Methods {
				c.method(method)
			}
		}
	}
	if c.problems == nil {
		return nil
	}
	return errors.New("wrong annotations:\n" + strings.Join(c.problems, "\n"))
}

func (c *checker) message(m *protogen.Message) {
	event := eventOf(m)
	keys := 0
	for _, f := range m.Fields {
		if !proto.HasExtension(f.Desc.Options(), microv1.E_Key) {
			continue
		}
		switch {
		case !isKey(f): // false says what is true without it
		case event == nil:
			c.report(f.Desc, fieldOptions, "%s is a key, but %s is no event: add option (micro.v1.event) to the message, or take the key away", f.Desc.Name(), m.Desc.Name())
		case f.Desc.Kind() != protoreflect.StringKind || f.Desc.Cardinality() == protoreflect.Repeated:
			c.report(f.Desc, fieldOptions, "%s is a key of type %s: a key is one string, so annotate a field of type string", f.Desc.Name(), typeOf(f.Desc))
		default:
			if keys++; keys > 1 {
				c.report(f.Desc, fieldOptions, "%s is a second key of %s: an event has one, so make a field that holds both, or take one away", f.Desc.Name(), m.Desc.Name())
			}
		}
	}
	c.extensions(m.Extensions)
	if event != nil {
		c.event(m, event)
	}
}

func typeOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map"
	case f.IsList():
		return "repeated " + f.Kind().String()
	default:
		return f.Kind().String()
	}
}

// extensions refuses keys in them: an event does not have its extensions'
// getters.
func (c *checker) extensions(extensions []*protogen.Extension) {
	for _, x := range extensions {
		if isKey(x) {
			c.report(x.Desc, fieldOptions, "%s is an extension, which cannot be a key: annotate a field of the event itself", x.Desc.Name())
		}
	}
}

func (c *checker) event(m *protogen.Message, event *microv1.Event) {
	report := func(format string, args ...any) { c.report(m.Desc, messageOptions, format, args...) }
	topic := event.GetTopic()
	switch other := c.topics[topic]; {
	case topic == "":
		report(`event %s has no topic: add one, such as topic: "%s"`, m.Desc.Name(), strings.ToLower(string(m.Desc.FullName())))
	case !validTopic(topic):
		report("topic %q of event %s is none that Kafka takes: use 1 to %d of a-z, A-Z, 0-9, '.', '_' and '-', and more than dots", topic, m.Desc.Name(), maxTopic)
	case other != nil:
		report("topic %q of event %s is that of %s (%s) already: give each event a topic of its own", topic, m.Desc.Name(), other.FullName(), position(other, messageOptions))
	default:
		c.topics[topic] = m.Desc
	}
	if _, known := microv1.Encoding_name[int32(event.GetEncoding())]; !known {
		report("encoding %d of event %s is not known: use ENCODING_PROTO or ENCODING_JSON", event.GetEncoding(), m.Desc.Name())
	}
	retry := event.GetRetry()
	if n := retry.GetAttempts(); n < -1 {
		report("retry of event %s has %d attempts: use 1 or more, or -1 for no limit", m.Desc.Name(), n)
	}
	c.duration(report, "initial_backoff of event "+string(m.Desc.Name()), retry.GetInitialBackoff())
	c.duration(report, "max_backoff of event "+string(m.Desc.Name()), retry.GetMaxBackoff())
	if first, longest := retry.GetInitialBackoff().AsDuration(), retry.GetMaxBackoff().AsDuration(); longest > 0 && first > longest {
		report("retry of event %s begins with a pause of %v, which is more than its longest, %v: make max_backoff the longer one", m.Desc.Name(), first, longest)
	}
}

func (c *checker) method(m *protogen.Method) {
	options, _ := proto.GetExtension(m.Desc.Options(), microv1.E_Method).(*microv1.Method)
	if options.GetTimeout() == nil {
		return
	}
	report := func(format string, args ...any) { c.report(m.Desc, methodOptions, format, args...) }
	c.duration(report, "timeout of "+string(m.Desc.Name()), options.GetTimeout())
	if m.Desc.IsStreamingServer() {
		report("%s is a stream of responses, and has a timeout, which would cut it off: take it away, and let callers set a deadline", m.Desc.Name())
	}
}

func (c *checker) duration(report func(string, ...any), what string, d *durationpb.Duration) {
	switch {
	case d == nil:
	case d.CheckValid() != nil:
		report("%s is no duration that protobuf knows: seconds and nanos have the same sign, and nanos stay below a second", what)
	case d.AsDuration() <= 0:
		report("%s is %v: make it positive, or take it away", what, d.AsDuration())
	}
}

func (c *checker) report(d protoreflect.Descriptor, options int32, format string, args ...any) {
	problem := position(d, options) + ": " + fmt.Sprintf(format, args...)
	if !slices.Contains(c.problems, problem) {
		c.problems = append(c.problems, problem)
	}
}

// position says where a descriptor's annotation stands, or else the descriptor.
func position(d protoreflect.Descriptor, options int32) string {
	file := d.ParentFile()
	locations := file.SourceLocations()
	at := locations.ByDescriptor(d)
	if at.Path == nil {
		return file.Path() // compiled without positions
	}
	for n := range locations.Len() {
		path := locations.Get(n).Path
		if prefix := append(slices.Clone(at.Path), options, annotation); len(path) >= len(prefix) && path[:len(prefix)].String() == prefix.String() {
			at = locations.Get(n)
			break
		}
	}
	return fmt.Sprintf("%s:%d:%d", file.Path(), at.StartLine+1, at.StartColumn+1)
}

const maxTopic = 249

// validTopic is Kafka's rule for topic names.
func validTopic(name string) bool {
	if name == "." || name == ".." || len(name) > maxTopic {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}
