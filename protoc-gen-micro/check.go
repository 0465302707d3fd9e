package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	microv1 "github.com/grpc-micro/micro/proto/micro/v1"
)

// checker collects what is wrong, so that it is mended in one go.
type checker struct {
	problems []problem
	topics   map[string]*protogen.Message // the event of each topic, by topicKey
}

type problem struct {
	at   place
	what string
}

// check reports every wrong annotation in the files to generate, as
// file:line:column: what, and what instead.
func check(gen *protogen.Plugin) error {
	c := &checker{topics: make(map[string]*protogen.Message)}
	for _, file := range gen.Files {
		if !file.Generate { // their topics are taken; their mistakes are of another run
			c.reserve(file)
		}
	}
	for _, file := range gen.Files {
		if file.Generate {
			c.file(file)
		}
	}
	if c.problems == nil {
		return nil
	}
	lines := []string{"wrong annotations:"}
	for _, p := range c.problems {
		lines = append(lines, fmt.Sprintf("%v: %s", p.at, p.what))
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (c *checker) reserve(file *protogen.File) {
	for _, m := range allMessages(file.Messages) {
		if event := eventOf(m); event != nil {
			c.topics[topicKey(event.GetTopic())] = m
		}
	}
}

func (c *checker) file(file *protogen.File) {
	earlier := len(c.problems)
	defer func() { // from top to bottom, as they are mended
		slices.SortStableFunc(c.problems[earlier:], func(a, b problem) int {
			return cmp.Or(cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.at.column, b.at.column))
		})
	}()
	if file.GoPackageName == "main" && generates(file) {
		c.reportf(goPackage(file.Desc), "the messages are in Go package main, which no other package can import: give them one of their own with option go_package")
	}
	for _, m := range allMessages(file.Messages) {
		c.message(m)
	}
	c.extensions(file.Extensions)
	for _, service := range file.Services {
		c.service(service)
	}
}

func (c *checker) message(m *protogen.Message) {
	event := eventOf(m)
	keys := 0
	for _, f := range m.Fields {
		if !isKey(f) {
			continue
		}
		at := keyOption(f.Desc)
		switch {
		case event == nil:
			c.reportf(at, "%s is a key, but %s is no event: add option (micro.v1.event) to the message, or take the key away", f.Desc.Name(), m.Desc.Name())
		case f.Desc.Kind() != protoreflect.StringKind || f.Desc.Cardinality() == protoreflect.Repeated:
			c.reportf(at, "%s is a key of type %s: a key is one string, so annotate a field of type string", f.Desc.Name(), typeOf(f.Desc))
		default:
			if keys++; keys > 1 {
				c.reportf(at, "%s is a second key of %s: an event has one, so make a field that holds both, or take one away", f.Desc.Name(), m.Desc.Name())
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
			c.reportf(keyOption(x.Desc), "%s is an extension, which cannot be a key: annotate a field of the event itself", x.Desc.Name())
		}
	}
}

func (c *checker) event(m *protogen.Message, event *microv1.Event) {
	name := m.Desc.Name()
	report := func(format string, args ...any) { c.reportf(eventOption(m.Desc), format, args...) }
	if isNewer(event) || isNewer(event.GetRetry()) {
		report("event %s has options that this protoc-gen-micro does not know: install the version that its annotations.proto is from", name)
	}
	c.topic(report, m, event)
	if _, known := microv1.Encoding_name[int32(event.GetEncoding())]; !known {
		report("encoding %d of event %s is not known: use ENCODING_PROTO or ENCODING_JSON", event.GetEncoding(), name)
	}
	retry := event.GetRetry()
	if n := retry.GetAttempts(); n < -1 {
		report("retry of event %s has %d attempts: use 1 or more, or -1 for no limit", name, n)
	}
	first, longest := retry.GetInitialBackoff(), retry.GetMaxBackoff()
	usable := c.duration(report, fmt.Sprintf("initial_backoff of event %s", name), first)
	usable = c.duration(report, fmt.Sprintf("max_backoff of event %s", name), longest) && usable
	if usable && longest != nil && first.AsDuration() > longest.AsDuration() {
		report("retry of event %s begins with a pause of %v, which is more than its longest, %v: make max_backoff the longer one", name, first.AsDuration(), longest.AsDuration())
	}
}

func (c *checker) topic(report func(string, ...any), m *protogen.Message, event *microv1.Event) {
	name, topic := m.Desc.Name(), event.GetTopic()
	other := c.topics[topicKey(topic)]
	switch {
	case topic == "":
		report("event %s has no topic: add one, such as topic: %q", name, strings.ToLower(string(m.Desc.FullName())))
		return
	case !validTopic(topic):
		report("topic %q of event %s is none that Kafka takes: use 1 to %d of a-z, A-Z, 0-9, '.', '_' and '-', and neither \".\" nor \"..\"", topic, name, maxTopic)
		return
	case event.GetDeadLetter() && len(topic)+len(".dead") > maxTopic:
		report("topic %q of event %s leaves no room for the name of its dead-letter topic, which ends in .dead and has %d characters at the most: shorten it", topic, name, maxTopic)
	case other == nil:
		c.topics[topicKey(topic)] = m
	case eventOf(other).GetTopic() == topic:
		report("topic %q of event %s is that of %s (%s) already: give each event a topic of its own", topic, name, other.Desc.FullName(), eventOption(other.Desc))
	default:
		report("topic %q of event %s differs from %q of %s (%s) only in '.' and '_', and Kafka refuses to have both: use another name", topic, name, eventOf(other).GetTopic(), other.Desc.FullName(), eventOption(other.Desc))
	}
}

// topicKey is equal for two topics that Kafka does not have beside each other:
// in the names of its metrics a '.' is a '_'.
func topicKey(topic string) string { return strings.ReplaceAll(topic, ".", "_") }

const maxTopic = 249

// validTopic is Kafka's rule for topic names.
func validTopic(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > maxTopic {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

const maxService = 255

func (c *checker) service(s *protogen.Service) {
	// The rule of package resolver: what protobuf takes, but for these two.
	if name := s.Desc.FullName(); name[0] == '_' || len(name) > maxService {
		c.reportf(position(s.Desc), "service %s cannot be found by this name: registries take 1 to %d characters, of which the first is a letter", name, maxService)
	}
	for _, m := range s.Methods {
		c.method(m)
	}
}

func (c *checker) method(m *protogen.Method) {
	report := func(format string, args ...any) { c.reportf(methodOption(m.Desc), format, args...) }
	options := methodOf(m)
	if isNewer(options) {
		report("%s has options that this protoc-gen-micro does not know: install the version that its annotations.proto is from", m.Desc.Name())
	}
	c.duration(report, fmt.Sprintf("timeout of %s", m.Desc.Name()), options.GetTimeout())
	if options.GetTimeout() != nil && m.Desc.IsStreamingServer() {
		report("%s is a stream of responses, and has a timeout, which would cut it off: take it away, and let callers set a deadline", m.Desc.Name())
	}
}

// duration reports whether d can be used, or is not there.
func (c *checker) duration(report func(string, ...any), what string, d *durationpb.Duration) bool {
	switch {
	case d == nil:
		return true
	case d.CheckValid() != nil:
		report("%s is no duration that protobuf knows: seconds and nanos have the same sign, nanos stay below a second, and seconds below 10000 years", what)
	case d.AsDuration() <= 0:
		report("%s is %v: make it positive, or take it away", what, d.AsDuration())
	case d.AsDuration() == math.MaxInt64:
		report("%s is more than the 292 years that Go can count: make it shorter, or take it away", what)
	default:
		return true
	}
	return false
}

func (c *checker) reportf(at place, format string, args ...any) {
	p := problem{at, fmt.Sprintf(format, args...)}
	if !slices.Contains(c.problems, p) {
		c.problems = append(c.problems, p)
	}
}

// isNewer reports whether an annotation has fields from a later
// annotations.proto, which must not be dropped in silence.
func isNewer(annotation proto.Message) bool {
	return len(annotation.ProtoReflect().GetUnknown()) > 0
}
