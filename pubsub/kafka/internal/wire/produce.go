package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// The versions of produce requests that we know: they differ in their answers.
const (
	leastProduce = 3
	mostProduce  = 8
)

// ErrElsewhere is the result of a part that was not sent, because another server
// leads its partition than that of the others.
var ErrElsewhere = errors.New("kafka: the partition is led by another server than the rest of the request")

var errUnanswered = errors.New("kafka: the server has answered, but not for this partition")

// Part is what a request publishes to one partition: a sealed batch. Topic and
// Number do not change as long as it is used.
type Part struct {
	Topic  string
	Number int32
	Batch  Batch

	// What came of it.
	Err      error         // of the whole batch
	Rejected map[int]error // what was wrong with single records, by their place, where the server says so
}

// Produce is a request that publishes batches to partitions of one server, when
// every replica in sync has them. If it is answered, [Produce.Conclude] gives the
// parts their results; otherwise it is not to be touched any more, for kafka-go
// may go on sending.
type Produce struct {
	clientID string
	timeout  time.Duration
	parts    []*Part // sorted by topic
	sent     []*Part // those of them that the leader has
	leader   int32

	version  int16
	request  []byte
	response []byte
	results  []result // of sent
}

type result struct {
	answered bool
	code     int16
	message  string
	rejected map[int]error
}

var (
	_ protocol.BrokerMessage = (*Produce)(nil)
	_ protocol.RawExchanger  = (*Produce)(nil)
)

// Begin begins a request, in the memory of the one before. The server gives up
// waiting for replicas after timeout.
func (p *Produce) Begin(clientID string, timeout time.Duration) {
	p.clientID, p.timeout = clientID, timeout
	p.parts = p.parts[:0]
}

// Add adds a part, of another partition than those before.
func (p *Produce) Add(part *Part) { p.parts = append(p.parts, part) }

// Conclude gives the parts their results.
func (p *Produce) Conclude() {
	for _, part := range p.parts {
		part.Err, part.Rejected = ErrElsewhere, nil
	}
	for i, part := range p.sent {
		r := &p.results[i]
		part.Err, part.Rejected = errUnanswered, r.rejected
		if r.answered {
			part.Err = failure(r.code, r.message)
		}
	}
	clear(p.parts)
	clear(p.sent)
	clear(p.results)
}

// Leader returns the server that the request was sent to.
func (p *Produce) Leader() int32 { return p.leader }

// Broker implements [protocol.BrokerMessage]: it finds the leader of the first
// part in kafka-go's copy of the metadata, and makes the request of those parts
// that have the same.
func (p *Produce) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	to, err := leader(cluster, p.parts[0].Topic, p.parts[0].Number)
	if err != nil {
		return to, err
	}
	slices.SortStableFunc(p.parts, func(a, b *Part) int { return strings.Compare(a.Topic, b.Topic) })
	p.leader, p.sent = to.ID, p.sent[:0]
	for _, part := range p.parts {
		if other, err := leader(cluster, part.Topic, part.Number); err == nil && other.ID == to.ID {
			p.sent = append(p.sent, part)
		}
	}
	p.results = slices.Grow(p.results[:0], len(p.sent))[:len(p.sent)]
	clear(p.results)
	p.request = p.appendRequest(p.request[:0])
	return to, nil
}

func (p *Produce) appendRequest(b []byte) []byte {
	b = appendHeader(b, protocol.Produce, p.clientID)
	b = binary.BigEndian.AppendUint16(b, ^uint16(0)) // no transaction
	b = binary.BigEndian.AppendUint16(b, ^uint16(0)) // all replicas in sync
	b = binary.BigEndian.AppendUint32(b, uint32(p.timeout.Milliseconds()))
	topicsAt, topics := len(b), uint32(0)
	b = binary.BigEndian.AppendUint32(b, 0)
	for i := 0; i < len(p.sent); {
		topics++
		topic := p.sent[i].Topic
		b = appendText(b, topic)
		partitionsAt, partitions := len(b), uint32(0)
		b = binary.BigEndian.AppendUint32(b, 0)
		for ; i < len(p.sent) && p.sent[i].Topic == topic; i++ {
			partitions++
			batch := p.sent[i].Batch.Bytes()
			b = binary.BigEndian.AppendUint32(b, uint32(p.sent[i].Number))
			b = binary.BigEndian.AppendUint32(b, uint32(len(batch)))
			b = append(b, batch...)
		}
		binary.BigEndian.PutUint32(b[partitionsAt:], partitions)
	}
	binary.BigEndian.PutUint32(b[topicsAt:], topics)
	return b
}

// ApiKey implements [protocol.Message].
func (p *Produce) ApiKey() protocol.ApiKey { return protocol.Produce } //nolint:revive // kafka-go's name

// Required implements [protocol.RawExchanger].
func (p *Produce) Required(versions map[protocol.ApiKey]int16) bool {
	p.version = versions[protocol.Produce]
	return true
}

// RawExchange implements [protocol.RawExchanger]. Of the parts it reads nothing
// but the topic and the number, for who waits for them may have left.
func (p *Produce) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if err := checkVersion("produce", p.version, leastProduce, mostProduce); err != nil {
		return nil, err
	}
	n, err := exchange(rw, p.request, p.version)
	if err != nil {
		return nil, err
	}
	p.response = slices.Grow(p.response[:0], n)[:n]
	if _, err := io.ReadFull(rw, p.response); err != nil {
		return nil, err
	}
	return p, p.parse(p.response, p.version)
}

func (p *Produce) parse(response []byte, version int16) error {
	c := cursor{b: response}
	for range c.count(2) {
		topic := c.take(int(c.int16()))
		for range c.count(4 + 2 + 8 + 8) {
			number := c.int32()
			var r result
			r.answered, r.code = true, c.int16()
			c.int64() // the first offset
			c.int64() // when it was appended
			if version >= 5 {
				c.int64() // where the log starts
			}
			if version >= 8 {
				for range c.count(4 + 2) {
					if r.rejected == nil {
						r.rejected = make(map[int]error)
					}
					i := c.int32()
					r.rejected[int(i)] = errors.New(c.text())
				}
				r.message = c.text()
			}
			if i := slices.IndexFunc(p.sent, func(s *Part) bool { return s.Number == number && s.Topic == string(topic) }); i >= 0 {
				p.results[i] = r
			}
		}
	}
	return c.err
}
