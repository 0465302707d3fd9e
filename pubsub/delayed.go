package pubsub

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// WithUnorderedRetry tries a message again long after it has failed, and gives up
// the order of its key for that: later messages of the key are handled meanwhile.
// It is for what takes minutes or hours to come right, when a message in its lane
// ([WithRetry]) would keep its key waiting for so long, and with a full window the
// partition.
//
// A message whose attempts are used up goes to the topic
// <topic>.<group>.retry.<delay>, "orders.billing.retry.10m", with headers that say
// where it comes from, and counts as handled. When the delay is over the same
// handler gets it from there as it was, Topic, Partition and Offset too, with
// Attempt counted on; and if that fails it goes to the topic of the next delay. What
// fails after the last, or is [Permanent], is a dead letter.
//
// Delays ascend, and each needs a topic; the subscription reads them beside its
// own, in a group by the name of the topic. A message that waits holds no
// goroutine, and at most 1024 of them in a partition are in memory. It needs
// [WithDeadLetter] and a group, and no [WithLimit]. Metrics show each retry topic as
// a subscription of its own. Default: no retry topics.
func WithUnorderedRetry(delays ...time.Duration) Option {
	delays = slices.Clone(delays)
	return subscribeOption(func(o *subscribeOptions) { o.delays = delays })
}

// stageWindow bounds how many messages of a partition of a retry topic are in
// memory. That it is full holds nobody up: what comes later is due later.
const stageWindow = 1024

// stage is the part of a subscription that reads the topic of one delay: a
// subscription of its own to the driver.
type stage struct {
	of    *Subscription // which reads the topic itself
	level int           // its delay is of.delays[level]
}

const (
	retryPrefix = "micro-retry-"

	retryTopic     = retryPrefix + "topic"
	retryPartition = retryPrefix + "partition"
	retryOffset    = retryPrefix + "offset"
	retryAttempts  = retryPrefix + "attempts"
	retryDue       = retryPrefix + "due"
	retryCause     = retryPrefix + "cause"
)

// retryTopicName has the delay as short as Go writes it: 10m, and not 10m0s.
func retryTopicName(topic, group string, delay time.Duration) string {
	text := delay.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return topic + "." + group + ".retry." + text
}

// setDelays checks the retry topics of s.
func (s *Subscription) setDelays(delays []time.Duration) error {
	if len(delays) == 0 {
		return nil
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("pubsub: subscribe to %s: unordered retry: "+format, append([]any{s.Topic}, args...)...)
	}
	_, subscribes := s.publisher.(Subscriber)
	switch {
	case !subscribes:
		return fail("%T does not subscribe, so it cannot read retry topics", s.publisher)
	case s.Group == "":
		return fail("a broadcast has no retry topics: give a group")
	case s.DeadLetters == "":
		return fail("what fails after the last delay needs a dead-letter topic (WithDeadLetter)")
	case s.limit > 0:
		return fail("it does not go with WithLimit, under which a message would be left in a retry topic")
	}
	for i, d := range delays {
		switch {
		case d < time.Millisecond:
			return fail("delay %v: give 1ms or more", d)
		case i > 0 && d <= delays[i-1]:
			return fail("delay %v after %v: they have to ascend", d, delays[i-1])
		}
		if err := checkName("retry topic", retryTopicName(s.Topic, s.Group, d)); err != nil {
			return err
		}
	}
	s.delays = delays
	return nil
}

// withStages runs fetch, and beside it the subscriptions to the retry topics.
func (s *Subscription) withStages(ctx context.Context, fetch func(context.Context) error) error {
	if len(s.delays) == 0 || s.stage != nil {
		return fetch(ctx)
	}
	var stages sync.WaitGroup
	defer stages.Wait()
	beside, cancel := context.WithCancel(ctx)
	defer cancel()
	for level, delay := range s.delays {
		name := retryTopicName(s.Topic, s.Group, delay)
		stages.Go(func() {
			err := s.publisher.(Subscriber).Subscribe(beside, name, name, s.handler, subscribeOption(func(o *subscribeOptions) {
				o.stage = &stage{s, level}
			}))
			if err != nil {
				s.fail(err)
			}
		})
	}
	return fetch(ctx)
}

// adopt makes s, which was checked, the subscription of a stage.
func (s *Subscription) adopt(st *stage) {
	s.stage = st
	s.handler = st.of.handler // with its middleware
	s.retry = st.of.retry
	s.delays = st.of.delays
	s.gate = st.of.gate
	s.Concurrency = st.of.Concurrency
	s.Window = min(st.of.Window, stageWindow)
	s.DrainTimeout = st.of.DrainTimeout
	s.DeadLetters = st.of.DeadLetters
	s.stallAfter = st.of.stallAfter + st.of.delays[st.level] // as long it stands still by intention
	s.Logger = st.of.Logger.With("retry_topic", s.Topic)
}

// next returns the topic of the next delay, if there is one.
func (s *Subscription) next() (topic string, delay time.Duration) {
	of, level := s, 0
	if s.stage != nil {
		of, level = s.stage.of, s.stage.level+1
	}
	if level >= len(s.delays) {
		return "", 0
	}
	delay = s.delays[level]
	return retryTopicName(of.Topic, of.Group, delay), delay
}

// delayed is a message of a retry topic, as it was.
type delayed struct {
	Delivery

	due time.Time
}

// original returns what d was before it came into the retry topic, and how long it
// has to wait. What somebody else has put there is taken as it is.
func (st *stage) original(d *Delivery) (*Delivery, time.Duration) {
	if d.delayed == nil {
		d.delayed = &delayed{Delivery: Delivery{Message: d.Message, Group: st.of.Group, Partition: d.Partition, Offset: d.Offset}}
		if topic := d.Header.Get(retryTopic); topic != nil {
			d.delayed.restore(string(topic))
		}
	}
	// Clocks differ; nothing waits longer than it was to.
	return &d.delayed.Delivery, min(time.Until(d.delayed.due), st.of.delays[st.level])
}

func (d *delayed) restore(topic string) {
	h := d.Header
	d.Partition, _ = strconv.Atoi(string(h.Get(retryPartition)))
	d.Offset, _ = strconv.ParseInt(string(h.Get(retryOffset)), 10, 64)
	d.Attempt, _ = strconv.Atoi(string(h.Get(retryAttempts)))
	d.due, _ = time.Parse(time.RFC3339Nano, string(h.Get(retryDue)))
	m := *d.Message
	m.Topic = topic
	m.Header = slices.DeleteFunc(slices.Clone(h), func(a Attr) bool { return strings.HasPrefix(a.Key, retryPrefix) })
	d.Message = &m
}

// retryLater returns the message that goes to a retry topic in place of d.
func retryLater(topic string, d *Delivery, due time.Time, cause error) *Message {
	m := *d.Message
	m.Topic = topic
	m.Header = slices.Clone(d.Header)
	add := func(key, value string) { m.Header = append(m.Header, Attr{key, []byte(value)}) }
	add(retryTopic, d.Topic)
	add(retryPartition, strconv.Itoa(d.Partition))
	add(retryOffset, strconv.FormatInt(d.Offset, 10))
	add(retryAttempts, strconv.Itoa(d.Attempt))
	add(retryDue, due.UTC().Format(time.RFC3339Nano))
	add(retryCause, clip(cause.Error(), maxCause))
	return &m
}
