package wire

import (
	"encoding/binary"
	"io"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// The versions of fetch requests that we know. The first has transactions, and
// the last is the one before the format changes.
const (
	leastFetch = 4
	mostFetch  = 11
)

// Fetch is a request for what a partition has from an offset on, but for what
// transactions have not committed yet. Once it is sent, it is not to be touched
// until its answer is there; after an error never again, for kafka-go may go on
// reading.
type Fetch struct {
	topic    string
	number   int32
	clientID string
	offset   int64
	maxBytes int32
	maxWait  time.Duration
	version  int16
	request  []byte
	response []byte

	// What came of it.
	Err     error
	End     int64 // behind the last message that replicas in sync have
	Records Records
}

var (
	_ protocol.BrokerMessage = (*Fetch)(nil)
	_ protocol.RawExchanger  = (*Fetch)(nil)
)

// Begin makes a request, in the memory of the one before. maxBytes bounds the
// answer, but for a first batch that is larger; the server answers when it has
// anything, and after maxWait.
func (f *Fetch) Begin(clientID, topic string, number int32, offset int64, maxBytes int, maxWait time.Duration) {
	f.topic, f.number = topic, number
	f.clientID, f.offset, f.maxBytes, f.maxWait = clientID, offset, int32(maxBytes), maxWait
	f.Err, f.End = nil, 0
	f.Records.reset(nil, nil)
}

// Free gives the answer's memory back, and its records with it. Until then it is
// the request's.
func (f *Fetch) Free() {
	f.Records.reset(nil, nil)
	if f.response != nil {
		responses.Put(f.response)
		f.response = nil
	}
}

// responses are answers' memory. A request waits for a second where there is
// nothing new, and needs none as long as that.
var responses pool

// Broker implements [protocol.BrokerMessage].
func (f *Fetch) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return leader(cluster, f.topic, f.number)
}

// ApiKey implements [protocol.Message].
func (f *Fetch) ApiKey() protocol.ApiKey { return protocol.Fetch } //nolint:revive // kafka-go's name

// Required implements [protocol.RawExchanger].
func (f *Fetch) Required(versions map[protocol.ApiKey]int16) bool {
	f.version = versions[protocol.Fetch]
	return true
}

// RawExchange implements [protocol.RawExchanger].
func (f *Fetch) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if err := checkVersion("fetch", f.version, leastFetch, mostFetch); err != nil {
		return nil, err
	}
	f.request = f.appendRequest(f.request[:0], f.version)
	n, err := exchange(rw, f.request, f.version)
	if err != nil {
		return nil, err
	}
	f.response = responses.Get(n)
	if _, err := io.ReadFull(rw, f.response); err != nil {
		return nil, err
	}
	return f, f.parse(f.response, f.version)
}

func (f *Fetch) appendRequest(b []byte, version int16) []byte {
	const (
		minBytes      = 1
		readCommitted = 1
	)
	b = appendHeader(b, protocol.Fetch, f.clientID)
	b = binary.BigEndian.AppendUint32(b, ^uint32(0)) // we are no replica
	b = binary.BigEndian.AppendUint32(b, uint32(f.maxWait.Milliseconds()))
	b = binary.BigEndian.AppendUint32(b, minBytes)
	b = binary.BigEndian.AppendUint32(b, uint32(f.maxBytes))
	b = append(b, readCommitted)
	if version >= 7 {
		b = binary.BigEndian.AppendUint32(b, 0)          // no session
		b = binary.BigEndian.AppendUint32(b, ^uint32(0)) // nor a new one
	}
	b = binary.BigEndian.AppendUint32(b, 1) // topics
	b = appendText(b, f.topic)
	b = binary.BigEndian.AppendUint32(b, 1) // partitions
	b = binary.BigEndian.AppendUint32(b, uint32(f.number))
	if version >= 9 {
		b = binary.BigEndian.AppendUint32(b, ^uint32(0)) // the leader's epoch: not known
	}
	b = binary.BigEndian.AppendUint64(b, uint64(f.offset))
	if version >= 5 {
		b = binary.BigEndian.AppendUint64(b, ^uint64(0)) // where the log starts: only replicas know
	}
	b = binary.BigEndian.AppendUint32(b, uint32(f.maxBytes))
	if version >= 7 {
		b = binary.BigEndian.AppendUint32(b, 0) // nothing to forget
	}
	if version >= 11 {
		b = appendText(b, "") // the rack
	}
	return b
}

func (f *Fetch) parse(response []byte, version int16) error {
	c := cursor{b: response}
	c.int32() // for how long we were throttled
	if version >= 7 {
		f.Err = failure(c.int16(), "")
		c.int32() // the session
	}
	for range c.count(2) { // topics: there is one
		c.text()
		for range c.count(4 + 2 + 8 + 8) {
			c.int32() // the partition
			if code := c.int16(); code != 0 {
				f.Err = kafkago.Error(code)
			}
			f.End = c.int64()
			c.int64() // behind the last message of no open transaction
			if version >= 5 {
				c.int64() // where the log starts
			}
			aborted := make([]abort, c.count(8+8))
			for i := range aborted {
				aborted[i] = abort{producer: c.int64(), from: c.int64()}
			}
			if version >= 11 {
				c.int32() // the replica to read from: only with a rack
			}
			var records []byte
			if n := c.int32(); n > 0 {
				records = c.take(int(n))
			}
			f.Records.reset(records, aborted)
		}
	}
	return c.err
}
