package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
)

// The versions of produce requests that we know: they differ in their answers.
const (
	leastProduce = 3
	mostProduce  = 8
)

// Produce is a request that publishes one batch to one partition, when every
// replica in sync has it. Once it is sent, it is not to be touched until its
// answer is there; after an error never again, for kafka-go may go on sending.
type Produce struct {
	partition

	batch    batch
	sizeAt   int // where the batch's length goes
	version  int16
	response []byte

	// What came of it.
	Err      error         // of the whole batch
	Rejected map[int]error // what was wrong with single records, by their place, where the server says so
}

var (
	_ protocol.BrokerMessage = (*Produce)(nil)
	_ protocol.RawExchanger  = (*Produce)(nil)
)

// Begin begins a request, in the memory of the one before. The server gives up
// waiting for replicas after timeout.
func (p *Produce) Begin(clientID, topic string, number int32, timeout time.Duration) {
	p.topic, p.number = topic, number
	p.Err, p.Rejected = nil, nil
	b := appendHeader(p.batch.buf[:0], protocol.Produce, clientID)
	b = binary.BigEndian.AppendUint16(b, ^uint16(0))                     // no transaction
	b = binary.BigEndian.AppendUint16(b, ^uint16(0))                     // all replicas in sync
	b = binary.BigEndian.AppendUint32(b, uint32(timeout.Milliseconds())) //nolint:gosec // seconds
	b = binary.BigEndian.AppendUint32(b, 1)                              // topics
	b = appendText(b, topic)
	b = binary.BigEndian.AppendUint32(b, 1)              // partitions
	b = binary.BigEndian.AppendUint32(b, uint32(number)) //nolint:gosec // not negative
	p.sizeAt = len(b)
	b = binary.BigEndian.AppendUint32(b, 0)
	p.batch.begin(b)
}

// Add adds a record, whose offset is not used. It is done with r's memory when
// it returns.
func (p *Produce) Add(r *Record) { p.batch.add(r) }

// Seal completes the request.
func (p *Produce) Seal(producer Producer, compression compress.Compression) error {
	if p.batch.records == 0 {
		return errors.New("kafka: a produce request without records")
	}
	if err := p.batch.seal(producer, compression); err != nil {
		return err
	}
	binary.BigEndian.PutUint32(p.batch.buf[p.sizeAt:], uint32(len(p.batch.buf)-p.batch.start)) //nolint:gosec // batches have a megabyte
	return nil
}

// ApiKey implements [protocol.Message].
func (p *Produce) ApiKey() protocol.ApiKey { return protocol.Produce } //nolint:revive // kafka-go's name

// Required implements [protocol.RawExchanger].
func (p *Produce) Required(versions map[protocol.ApiKey]int16) bool {
	p.version = versions[protocol.Produce]
	return true
}

// RawExchange implements [protocol.RawExchanger].
func (p *Produce) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if err := checkVersion("produce", p.version, leastProduce, mostProduce); err != nil {
		return nil, err
	}
	n, err := exchange(rw, p.batch.buf, p.version)
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
	for range c.count(2) { // topics: there is one
		c.text()
		for range c.count(4 + 2 + 8 + 8) {
			c.int32() // the partition
			code := c.int16()
			c.int64() // the first offset
			c.int64() // when it was appended
			if version >= 5 {
				c.int64() // where the log starts
			}
			message := ""
			if version >= 8 {
				for range c.count(4 + 2) {
					i, text := c.int32(), c.text()
					if p.Rejected == nil {
						p.Rejected = make(map[int]error)
					}
					p.Rejected[int(i)] = errors.New(text)
				}
				message = c.text()
			}
			p.Err = failure(code, message)
		}
	}
	return c.err
}
