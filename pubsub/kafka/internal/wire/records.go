package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
)

// Record is a record that was read.
type Record struct {
	Offset     int64
	Time       int64  // milliseconds of the Unix era
	Key, Value []byte // nil is null
	Headers    []protocol.Header
}

// maxUnpacked bounds what a compressed batch may become.
const maxUnpacked = 1 << 30

// abort is a transaction that was aborted, of which there may be records.
type abort struct {
	producer int64
	from     int64 // offset
}

// Records reads the records of an answer, one after the other, but for those of
// aborted transactions and the marks of transactions. The zero value has none.
type Records struct {
	rest    []byte // batches
	aborted []abort

	batch    cursor // records, uncompressed
	left     int    // of them
	skip     bool   // they are none for us
	base     int64
	first    int64 // time
	appended int64 // time of all of them, where the server has set it; else -1
	old      []Record
	unpacked *bytes.Buffer

	record  Record
	headers []protocol.Header
	names   []string // of the headers of the record before, by place

	// Next is the offset behind what was read so far, that of records that were
	// left out included; 0 before the first batch.
	Next int64
}

func (r *Records) reset(batches []byte, aborted []abort) {
	*r = Records{rest: batches, aborted: aborted, headers: r.headers[:0], names: r.names, unpacked: r.unpacked}
}

// Read returns the next record, whose memory is r's until the next call.
// [io.EOF]: there is none. Any other error is final, and comes before the first
// record of a batch that is wrong.
func (r *Records) Read() (*Record, error) {
	for {
		if len(r.old) > 0 {
			record := &r.old[0]
			r.old = r.old[1:]
			r.Next = record.Offset + 1
			return record, nil
		}
		if r.left > 0 && !r.skip {
			return r.read()
		}
		r.left = 0
		if err := r.open(); err != nil {
			return nil, err
		}
	}
}

// open goes on with the next batch.
func (r *Records) open() error {
	if len(r.rest) <= magicAt {
		return io.EOF // a batch that the server has cut off has no more than that
	}
	size := int64(binary.BigEndian.Uint32(r.rest[batchLengthAt:])) + batchLengthAt + 4
	if size > int64(len(r.rest)) {
		return io.EOF // it was cut off
	}
	b := r.rest[:size]
	r.rest = r.rest[size:]
	if size <= magicAt {
		return fmt.Errorf("kafka: a batch of %d bytes at offset %d: %w", size, int64(binary.BigEndian.Uint64(b)), errShort)
	}
	if m := b[magicAt]; m < magic {
		return r.openOld(b)
	} else if m > magic || size < recordsAt {
		return fmt.Errorf("kafka: a batch of format %d and %d bytes at offset %d: we know formats 0 to %d", m, size, int64(binary.BigEndian.Uint64(b)), magic)
	}
	c := cursor{b: b}
	r.base = c.int64()
	c.take(magicAt - batchLengthAt + 1)
	if sum := uint32(c.int32()); sum != crc32.Checksum(b[attributesAt:], castagnoli) {
		return fmt.Errorf("kafka: the batch at offset %d has another checksum than its bytes: the server's disk, or what is between us and it, mixes up bytes", r.base)
	}
	attributes := c.int16()
	r.Next = max(r.Next, r.base+int64(c.int32())+1)
	r.first = c.int64()
	latest := c.int64()
	r.appended = -1
	if attributes&logAppendTime != 0 {
		r.appended = latest
	}
	producer := c.int64()
	c.int16() // epoch
	c.int32() // sequence
	r.left = int(c.int32())
	r.batch = c
	if codec := compress.Compression(attributes & compressionMask); codec != compress.None {
		if err := r.unpack(codec); err != nil {
			return fmt.Errorf("kafka: the batch at offset %d: %w", r.base, err)
		}
	}
	r.skip = attributes&control != 0
	switch {
	case r.skip:
		r.end(producer)
	case attributes&transactional != 0:
		r.skip = r.isAborted(producer)
	}
	return nil
}

func (r *Records) unpack(compression compress.Compression) error {
	codec := compression.Codec()
	if codec == nil {
		return fmt.Errorf("it is compressed by method %d, which we do not know", compression)
	}
	from := codec.NewReader(bytes.NewReader(r.batch.b))
	if r.unpacked == nil {
		r.unpacked = new(bytes.Buffer)
	}
	r.unpacked.Reset()
	n, err := r.unpacked.ReadFrom(io.LimitReader(from, maxUnpacked+1))
	if n > maxUnpacked {
		err = fmt.Errorf("more than %d bytes", maxUnpacked)
	}
	if err = errors.Join(err, from.Close()); err != nil {
		return fmt.Errorf("%v: %w", compression, err)
	}
	r.batch.b = r.unpacked.Bytes()
	return nil
}

// isAborted reports whether a transaction's batch is one of an aborted one.
func (r *Records) isAborted(producer int64) bool {
	return slices.ContainsFunc(r.aborted, func(a abort) bool { return a.producer == producer && a.from <= r.base })
}

// end is at the mark where a transaction ends: what the producer has behind it
// is another one's.
func (r *Records) end(producer int64) {
	for i, a := range r.aborted {
		if a.producer == producer && a.from <= r.base {
			r.aborted = slices.Delete(r.aborted, i, i+1)
			return
		}
	}
}

// read reads a record.
func (r *Records) read() (*Record, error) {
	r.left--
	c := &r.batch
	size := c.varint()
	if size < 0 || size > int64(len(c.b)) {
		c.fail()
	}
	rest := cursor{b: c.take(int(size)), err: c.err}
	rest.int8() // attributes
	d := &r.record
	d.Time = r.first + rest.varint()
	if r.appended >= 0 {
		d.Time = r.appended
	}
	d.Offset = r.base + rest.varint()
	d.Key = rest.varbytes()
	d.Value = rest.varbytes()
	n := rest.varint()
	if n < 0 || n > int64(len(rest.b)) {
		rest.fail()
		n = 0
	}
	r.headers = r.headers[:0]
	for i := range int(n) {
		key := rest.varbytes()
		r.headers = append(r.headers, protocol.Header{Key: r.name(i, key), Value: rest.varbytes()})
	}
	d.Headers = r.headers
	if rest.err != nil {
		r.left, r.rest = 0, nil
		return nil, fmt.Errorf("kafka: a record of the batch at offset %d: %w", r.base, rest.err)
	}
	r.Next = max(r.Next, d.Offset+1)
	return d, nil
}

// name returns a header's name, which the record before mostly has at the same
// place.
func (r *Records) name(i int, key []byte) string {
	const most = 64
	switch {
	case i < len(r.names):
		if r.names[i] != string(key) {
			r.names[i] = string(key)
		}
		return r.names[i]
	case i == len(r.names) && i < most:
		r.names = append(r.names, string(key))
		return r.names[i]
	}
	return string(key)
}

// openOld reads a batch of a format that Kafka has not written since 0.11, but
// may still have. kafka-go knows those.
func (r *Records) openOld(b []byte) error {
	set := protocol.RecordSet{}
	sized := append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	if _, err := set.ReadFrom(bytes.NewReader(sized)); err != nil {
		return fmt.Errorf("kafka: a batch of format %d at offset %d: %w", b[magicAt], int64(binary.BigEndian.Uint64(b)), err)
	}
	for set.Records != nil {
		record, err := set.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		key, err := protocol.ReadAll(record.Key)
		value, err2 := protocol.ReadAll(record.Value)
		if err = errors.Join(err, err2); err != nil {
			return err
		}
		r.old = append(r.old, Record{Offset: record.Offset, Time: record.Time.UnixMilli(), Key: key, Value: value})
	}
	return nil
}
