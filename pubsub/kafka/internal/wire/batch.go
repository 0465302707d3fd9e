package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/segmentio/kafka-go/compress"
)

// Producer is who publishes a batch, so that the server recognises what it has
// already. The zero value is nobody.
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the batch's first record
	Known    bool  // false: nobody
}

// Places in a batch.
const (
	batchLengthAt = 8 // the length counts from behind it
	magicAt       = 16
	crcAt         = 17 // the sum is of what is behind it
	attributesAt  = 21
	recordsAt     = 61

	magic = 2
)

// Attributes of a batch.
const (
	compressionMask = 0x7
	logAppendTime   = 0x8
	transactional   = 0x10
	control         = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch makes batches, each in the memory of the one before. The zero value is
// ready for [Batch.Begin].
type Batch struct {
	buf     []byte
	records int
	first   int64 // time
	latest  int64
	plain   []byte // records that were compressed
}

// Begin begins a batch.
func (b *Batch) Begin() {
	b.buf = append(b.buf[:0], make([]byte, recordsAt)...)
	b.records, b.first, b.latest = 0, 0, 0
}

// Add adds a record: its time in milliseconds of the Unix era, its key and value,
// of which nil is null, and its headers. It is done with their memory when it
// returns.
func (b *Batch) Add(time int64, key, value []byte, headers *Headers) {
	if b.records == 0 {
		b.first, b.latest = time, time
	}
	b.latest = max(b.latest, time)
	size := 1 + varsize(time-b.first) + varsize(int64(b.records)) + bytesSize(key) + bytesSize(value) + varsize(int64(headers.n)) + len(headers.buf)
	buf := binary.AppendVarint(b.buf, int64(size))
	buf = append(buf, 0) // attributes: none are defined
	buf = binary.AppendVarint(buf, time-b.first)
	buf = binary.AppendVarint(buf, int64(b.records))
	buf = appendBytes(buf, key)
	buf = appendBytes(buf, value)
	buf = binary.AppendVarint(buf, int64(headers.n))
	buf = append(buf, headers.buf...)
	b.buf = buf
	b.records++
}

// Bytes returns the sealed batch. They are the batch's until the next Begin.
func (b *Batch) Bytes() []byte { return b.buf }

// Seal compresses the records and completes the batch's header.
func (b *Batch) Seal(p Producer, compression compress.Compression) error {
	if codec := compression.Codec(); codec != nil {
		b.plain = append(b.plain[:0], b.buf[recordsAt:]...)
		b.buf = b.buf[:recordsAt]
		w := codec.NewWriter((*appender)(b))
		_, err := w.Write(b.plain)
		if err = errors.Join(err, w.Close()); err != nil {
			return fmt.Errorf("kafka: compress by %v: %w", compression, err)
		}
	}
	if !p.Known {
		p = Producer{ID: -1, Epoch: -1, Sequence: -1}
	}
	h := b.buf[:0]
	h = binary.BigEndian.AppendUint64(h, 0) // the first offset is the server's to give
	h = binary.BigEndian.AppendUint32(h, uint32(len(b.buf)-batchLengthAt-4))
	h = binary.BigEndian.AppendUint32(h, ^uint32(0)) // the leader's epoch: not known
	h = append(h, magic)
	h = binary.BigEndian.AppendUint32(h, 0) // the sum
	h = binary.BigEndian.AppendUint16(h, uint16(compression)&compressionMask)
	h = binary.BigEndian.AppendUint32(h, uint32(b.records-1))
	h = binary.BigEndian.AppendUint64(h, uint64(b.first))
	h = binary.BigEndian.AppendUint64(h, uint64(b.latest))
	h = binary.BigEndian.AppendUint64(h, uint64(p.ID))
	h = binary.BigEndian.AppendUint16(h, uint16(p.Epoch))
	h = binary.BigEndian.AppendUint32(h, uint32(p.Sequence))
	binary.BigEndian.AppendUint32(h, uint32(b.records))
	binary.BigEndian.PutUint32(b.buf[crcAt:], crc32.Checksum(b.buf[attributesAt:], castagnoli))
	return nil
}

// appender writes to the end of a batch.
type appender Batch

func (a *appender) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	return len(p), nil
}

func appendBytes(buf, b []byte) []byte {
	if b == nil {
		return append(buf, 1) // -1
	}
	buf = binary.AppendVarint(buf, int64(len(b)))
	return append(buf, b...)
}

func bytesSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varsize(int64(len(b))) + len(b)
}

// varsize is how many bytes a varint takes.
func varsize(v int64) int {
	return (bits.Len64(uint64(v<<1)^uint64(v>>63)|1) + 6) / 7
}
