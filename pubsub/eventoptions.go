package pubsub

import (
	"bytes"
	"time"

	"github.com/grpc-micro/micro/codec"
)

// PublishOption sets something of one message.
type PublishOption interface{ applyPublish(*draft) }

// EventOption is both a [TopicOption] and a [PublishOption]: given to
// [NewTopic] it is the default, given to Publish it wins.
type EventOption interface {
	TopicOption
	PublishOption
}

// WithKey has messages carry the key that it returns: events of one key stay in
// order, and go to one partition. An empty key is none. T is that of the topic.
// Default: no key.
func WithKey[T any](key func(*T) string) TopicOption {
	return topicOption(func(o *topicOptions) {
		o.key = nil
		if key != nil {
			o.key = key
		}
	})
}

// WithCodec sets how events are encoded. Reading goes by each message's content
// type, so it may change at any time. Default: [codec.Proto] for proto
// messages, [codec.JSON] for other structs.
func WithCodec(c codec.Codec) EventOption {
	return eventOption{
		func(o *topicOptions) { o.codec = c },
		func(d *draft) { d.codec = c },
	}
}

// WithSource sets who says so, a URI reference by CloudEvents: "/orders". With
// an ID it names an event. Default: the topic's name.
func WithSource(source string) EventOption {
	return eventOption{
		func(o *topicOptions) { o.source = source },
		func(d *draft) { d.Source = source },
	}
}

// WithID sets the message's ID, for a caller that can give an event the same
// one whenever it is published. Default: a new UUID.
func WithID(id string) PublishOption {
	return publishOption(func(d *draft) { d.ID = id })
}

// WithTime sets when the event happened. Default: now.
func WithTime(t time.Time) PublishOption {
	return publishOption(func(d *draft) { d.Time = t })
}

// WithSubject sets what the event happened to. Default: nothing.
func WithSubject(subject string) PublishOption {
	return publishOption(func(d *draft) { d.Subject = subject })
}

// WithHeader adds an attribute to the message's header; repeats are kept.
func WithHeader(key string, value []byte) PublishOption {
	return publishOption(func(d *draft) { d.Header = append(d.Header, Attr{key, bytes.Clone(value)}) })
}

type topicOptions struct {
	codec     codec.Codec
	source    string
	key       any // a func(*T) string
	subscribe []SubscribeOption
	spec      TopicSpec
}

type topicOption func(*topicOptions)

func (f topicOption) applyTopic(o *topicOptions) { f(o) }

type publishOption func(*draft)

func (f publishOption) applyPublish(d *draft) { f(d) }

type eventOption struct {
	topic   topicOption
	publish publishOption
}

func (e eventOption) applyTopic(o *topicOptions) { e.topic(o) }

func (e eventOption) applyPublish(d *draft) { e.publish(d) }
