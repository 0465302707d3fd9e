package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// maxResponse bounds what we are ready to read at once. Servers keep to the
// bytes that a fetch asks for, but for one batch that is larger, and those are
// bounded by message.max.bytes.
const maxResponse = 1 << 30

// leader finds the server that leads a partition in kafka-go's copy of the
// metadata.
func leader(cluster protocol.Cluster, topic string, number int32) (protocol.Broker, error) {
	t, ok := cluster.Topics[topic]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoTopic(topic)
	}
	p, ok := t.Partitions[number]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoPartition(topic, number)
	}
	b, ok := cluster.Brokers[p.Leader]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoLeader(topic, number)
	}
	return b, nil
}

// The header of a request: its length, which API, its version, a number that the
// answer has too, and the client's name.
const (
	lengthAt  = 0
	versionAt = 6
)

// correlation is the number of each request: there is but one at a time on a
// connection of kafka-go's.
const correlation = 1

func appendHeader(b []byte, key protocol.ApiKey, clientID string) []byte {
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, correlation)
	return appendText(b, clientID)
}

func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// exchange sends a request, which has all but its length and version, and reads
// the header of the answer. It returns how many bytes are behind that.
func exchange(rw io.ReadWriter, request []byte, version int16) (int, error) {
	binary.BigEndian.PutUint32(request[lengthAt:], uint32(len(request)-4))
	binary.BigEndian.PutUint16(request[versionAt:], uint16(version))
	if _, err := rw.Write(request); err != nil {
		return 0, err
	}
	var header [8]byte
	if _, err := io.ReadFull(rw, header[:]); err != nil {
		return 0, err
	}
	size := binary.BigEndian.Uint32(header[:])
	if id := binary.BigEndian.Uint32(header[4:]); id != correlation || size < 4 || size > maxResponse {
		return 0, fmt.Errorf("kafka: an answer of %d bytes to request %d, not to %d: the connection, or what is between us and the server, mixes up bytes", size, id, correlation)
	}
	return int(size) - 4, nil
}

// pool keeps memory for reuse, by rough size: that for a large answer does not
// go to a small one.
type pool struct{ classes [32]sync.Pool }

// Get returns n bytes.
func (p *pool) Get(n int) []byte {
	class := bits.Len(uint(n))
	if b, ok := p.classes[class].Get().(*[]byte); ok {
		return (*b)[:n]
	}
	return make([]byte, n, 1<<class)
}

// Put takes bytes that Get returned.
func (p *pool) Put(b []byte) { p.classes[bits.Len(uint(cap(b)))-1].Put(&b) }

// failure words an error code of a server's, as kafka-go does; 0 is none.
func failure(code int16, message string) error {
	switch {
	case code == 0:
		return nil
	case message == "":
		return kafkago.Error(code)
	}
	return fmt.Errorf("%w: %s", kafkago.Error(code), message)
}
