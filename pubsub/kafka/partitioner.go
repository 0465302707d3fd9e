package kafka

import (
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// keylessRun is how many messages without a key of one call go to the same
// partition: enough to share requests, few enough to use all partitions.
const keylessRun = 256

// topic is a topic that is published to.
type topic struct {
	b       *Broker
	name    string
	to      atomic.Pointer[partitioning] // nil before the first message
	looked  atomic.Int64                 // when, in nanoseconds of the Unix era
	stale   atomic.Bool                  // that is long ago
	looking chan struct{}                // capacity 1: held while the partitions are looked up
	keyless atomic.Uint32                // runs of messages without a key so far
}

// partitioning is what keys are spread over.
type partitioning struct {
	senders []*sender // by partition
	numbers []int     // 0, 1, …
}

func (b *Broker) topic(name string) *topic {
	if t, ok := b.topics.Load(name); ok {
		return t.(*topic)
	}
	t, _ := b.topics.LoadOrStore(name, &topic{b: b, name: name, looking: make(chan struct{}, 1)})
	return t.(*topic)
}

// look says that it is time to look for more partitions, if it is. Senders call it,
// once a batch.
func (t *topic) look() {
	if time.Now().UnixNano()-t.looked.Load() >= int64(t.b.growPause) {
		t.stale.Store(true)
	}
}

// get returns the partitions. It asks the cluster the first time, and looks now
// and then whether there are more.
func (t *topic) get(c *call) (*partitioning, error) {
	to := t.to.Load()
	if to != nil && !t.stale.Load() {
		return to, nil
	}
	ctx := c.context()
	select {
	case t.looking <- struct{}{}:
	default:
		if to != nil {
			return to, nil // somebody else is looking
		}
		select {
		case t.looking <- struct{}{}:
		case <-ctx.Done():
			return nil, t.b.unreachable(ended(ctx))
		}
	}
	defer func() { <-t.looking }()
	if newer := t.to.Load(); newer != to {
		return newer, nil // somebody else has looked
	}
	if to == nil {
		n, err := t.b.partitions(ctx, t.name)
		if err != nil {
			return nil, err
		}
		return t.resize(n), nil
	}
	if n, err := t.b.lookup(ctx, t.name); err == nil && n > len(to.senders) {
		to = t.resize(n)
	}
	t.looked.Store(time.Now().UnixNano())
	t.stale.Store(false)
	return to, nil
}

// resize gives the topic n partitions. The caller holds looking.
func (t *topic) resize(n int) *partitioning {
	to := &partitioning{}
	if old := t.to.Load(); old != nil {
		to.senders = old.senders[:min(n, len(old.senders)):min(n, len(old.senders))]
	}
	for i := len(to.senders); i < n; i++ {
		to.senders = append(to.senders, newSender(t, i))
	}
	for i := range n {
		to.numbers = append(to.numbers, i)
	}
	t.to.Store(to)
	t.looked.Store(time.Now().UnixNano())
	t.stale.Store(false)
	return to
}

// pick returns the partition for message i of a call: for a key the one that
// Kafka's Java client and librdkafka's murmur2 choose, else each in turn.
func (t *topic) pick(to *partitioning, key []byte, i int) *sender {
	if key != nil {
		return to.senders[kafkago.Murmur2Balancer{Consistent: true}.Balance(kafkago.Message{Key: key}, to.numbers...)]
	}
	run := t.keyless.Load()
	if i%keylessRun == 0 {
		run = t.keyless.Add(1)
	}
	return to.senders[int(run)%len(to.senders)]
}
