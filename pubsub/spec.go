package pubsub

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/grpc-micro/micro/codec"
)

// ErrDecode is wrapped by the errors of [Topic.Decode].
var ErrDecode = errors.New("pubsub: event does not decode")

// spec is what a Topic was declared as. It is worked out at its first use and
// not when it is declared, because package variables are set before generated
// messages of the same package are.
type spec[T any] struct {
	name string
	opts []TopicOption

	once      sync.Once // guards what follows
	err       error
	typ       string
	isProto   bool
	codec     codec.Codec
	source    string
	key       func(*T) string
	subscribe []SubscribeOption
	declared  TopicSpec
}

func (t Topic[T]) resolve() (*spec[T], error) {
	if t.spec == nil {
		return nil, fmt.Errorf("pubsub: this Topic[%v] was not made by NewTopic", reflect.TypeFor[T]())
	}
	t.spec.once.Do(t.spec.resolve)
	return t.spec, t.spec.err
}

func (s *spec[T]) resolve() {
	s.err = checkName("topic", s.name)
	if s.err != nil {
		return
	}
	if s.err = s.resolveType(); s.err != nil {
		s.err = fmt.Errorf("pubsub: topic %s: %w", s.name, s.err)
		return
	}
	o := topicOptions{codec: codec.JSON, source: s.name}
	if s.isProto {
		o.codec = codec.Proto
	}
	for _, opt := range s.opts {
		if opt == nil {
			s.err = fmt.Errorf("pubsub: topic %s: nil TopicOption", s.name)
			return
		}
		opt.applyTopic(&o)
	}
	key, ok := o.key.(func(*T) string)
	if o.key != nil && !ok {
		s.err = fmt.Errorf("pubsub: topic %s: WithKey has a %T, and the events are %v", s.name, o.key, reflect.TypeFor[T]())
		return
	}
	if o.codec == nil || contentType(o.codec) == "" {
		s.err = fmt.Errorf("pubsub: topic %s: a codec with a content type is needed", s.name)
		return
	}
	if o.spec.Name != "" && o.spec.Name != s.name {
		s.err = fmt.Errorf("pubsub: topic %s: its spec is that of %s: leave the name out", s.name, o.spec.Name)
		return
	}
	s.declared = o.spec
	s.declared.Name = s.name
	if s.err = s.declared.check(); s.err != nil {
		return
	}
	s.codec, s.source, s.key, s.subscribe = o.codec, o.source, key, o.subscribe
	_, s.err = newSubscribeOptions(s.subscribe)
}

func (s *spec[T]) resolveType() error {
	t := reflect.TypeFor[T]()
	switch {
	case t.Kind() == reflect.Pointer:
		return fmt.Errorf("an event is a struct: write NewTopic[%v], not NewTopic[%v]", t.Elem(), t)
	case t.Kind() != reflect.Struct:
		return fmt.Errorf("an event is a struct, and %v is none", t)
	}
	m, ok := any(new(T)).(proto.Message)
	switch {
	case ok:
		s.typ, s.isProto = string(m.ProtoReflect().Descriptor().FullName()), true
	case t.Name() == "":
		return fmt.Errorf("the event's type needs a name, and %v has none", t)
	default:
		s.typ = t.String()
	}
	return nil
}

func (s *spec[T]) decode(m *Message) (*T, error) {
	fail := func(cause error) (*T, error) {
		return nil, fmt.Errorf("%w: message %s of topic %s, as %s: %w", ErrDecode, m.ID, m.Topic, s.typ, cause)
	}
	if m == nil || m.Value == nil {
		if m == nil {
			m = &Message{}
		}
		return fail(errors.New("a tombstone holds no event (WithTombstones handles it)"))
	}
	c := s.codec
	if m.ContentType != "" && !slices.Contains(c.ContentTypes(), m.ContentType) {
		var ok bool
		if c, ok = codec.ForContentType(m.ContentType); !ok {
			return fail(fmt.Errorf("no codec for content type %q: import its package", m.ContentType))
		}
	}
	if s.isProto && m.Type != s.typ {
		// Another message often decodes, to nonsense. A type that is no message
		// known here is a foreign name, and says nothing.
		if _, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(m.Type)); err == nil {
			return fail(fmt.Errorf("it is a %s", m.Type))
		}
	}
	v := new(T)
	if err := c.Unmarshal(m.Value, v); err != nil {
		return fail(err)
	}
	return v, nil
}

// contentType is what c's events are marked with.
func contentType(c codec.Codec) string {
	types := c.ContentTypes()
	if len(types) == 0 {
		return ""
	}
	return types[0]
}
