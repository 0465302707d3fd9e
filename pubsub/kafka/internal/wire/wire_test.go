package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
)

var samples = []Record{
	{Offset: 0, Time: 1_700_000_000_000, Key: []byte("k"), Value: []byte("v"), Headers: []protocol.Header{{Key: "ce_id", Value: []byte("1")}, {Key: "x"}}},
	{Offset: 1, Time: 1_600_000_000_000, Key: nil, Value: nil}, // a tombstone, older than the first
	{Offset: 2, Time: 1_800_000_000_000, Key: []byte{}, Value: []byte{}, Headers: []protocol.Header{{Key: "ce_id", Value: []byte{}}}},
	{Offset: 3, Time: 1_800_000_000_000, Key: bytes.Repeat([]byte("k"), 300), Value: bytes.Repeat([]byte("value"), 20_000)},
}

func sealed(t testing.TB, p Producer, c compress.Compression, records ...Record) []byte {
	t.Helper()
	var b Batch
	b.Begin()
	var h Headers
	for i := range records {
		add(&b, &records[i], &h)
	}
	if err := b.Seal(p, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func add(b *Batch, r *Record, h *Headers) {
	h.Cut(Mark{})
	for i := range r.Headers {
		h.Add(r.Headers[i].Key, r.Headers[i].Value)
	}
	b.Add(r.Time, r.Key, r.Value, h)
}

func readAll(t testing.TB, batches []byte, aborted ...abort) (all []Record, err error) {
	t.Helper()
	var r Records
	r.reset(batches, aborted)
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		kept := *record
		kept.Key, kept.Value = bytes.Clone(record.Key), bytes.Clone(record.Value)
		kept.Headers = nil
		for _, h := range record.Headers {
			kept.Headers = append(kept.Headers, protocol.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
		}
		all = append(all, kept)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	for c := compress.None; c <= compress.Zstd; c++ {
		b := sealed(t, Producer{ID: 7, Epoch: 3, Sequence: 9, Known: true}, c, samples...)
		got, err := readAll(t, b)
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		if diff := cmp.Diff(samples, got); diff != "" {
			t.Errorf("%v: %s", c, diff)
		}
		theirs, err := kafkaGoReads(b)
		if err != nil {
			t.Fatalf("%v: kafka-go: %v", c, err)
		}
		if diff := cmp.Diff(samples, theirs); diff != "" {
			t.Errorf("%v, as kafka-go reads it: %s", c, diff)
		}
		if c != compress.None && len(b) > 10_000 {
			t.Errorf("%v: 100 kB of the same became %d", c, len(b))
		}
	}
}

// A writer keeps the headers that many records have, and has others behind them.
func TestHeaders(t *testing.T) {
	t.Parallel()
	var h Headers
	h.AddText("a", "1")
	same := h.Mark()
	var b Batch
	b.Begin()
	for _, value := range []string{"2", "", "a longer one"} {
		h.Cut(same)
		h.AddText("b", value)
		b.Add(0, nil, nil, &h)
	}
	if err := b.Seal(Producer{}, compress.None); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range []string{"2", "", "a longer one"} {
		want := []protocol.Header{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte(value)}}
		if diff := cmp.Diff(want, got[i].Headers); diff != "" {
			t.Error(diff)
		}
	}
}

// kafkaGoReads decodes a batch with kafka-go's own decoder.
func kafkaGoReads(b []byte) (all []Record, err error) {
	var set protocol.RecordSet
	if _, err := set.ReadFrom(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))); err != nil {
		return nil, err
	}
	batch := set.Records.(*protocol.RecordStream).Records[0].(*protocol.RecordBatch)
	if batch.ProducerID != 7 || batch.ProducerEpoch != 3 || batch.BaseSequence != 9 {
		return nil, fmt.Errorf("producer %d, epoch %d, sequence %d", batch.ProducerID, batch.ProducerEpoch, batch.BaseSequence)
	}
	for {
		r, err := batch.ReadRecord()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		key, err := protocol.ReadAll(r.Key)
		if err != nil {
			return nil, err
		}
		value, err := protocol.ReadAll(r.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, Record{Offset: r.Offset, Time: r.Time.UnixMilli(), Key: key, Value: value, Headers: r.Headers})
	}
}

// What kafka-go writes, in each of the three formats, we read.
func TestFormats(t *testing.T) {
	t.Parallel()
	for _, version := range []int8{0, 1, 2} {
		for _, attributes := range []protocol.Attributes{0, protocol.Gzip} {
			when := time.UnixMilli(1_700_000_000_000)
			set := protocol.RecordSet{Version: version, Attributes: attributes, Records: protocol.NewRecordReader(
				protocol.Record{Time: when, Key: protocol.NewBytes([]byte("k")), Value: protocol.NewBytes([]byte("v"))},
				protocol.Record{Time: when, Key: nil, Value: protocol.NewBytes([]byte("w"))},
			)}
			var written bytes.Buffer
			if _, err := set.WriteTo(&written); err != nil {
				t.Fatalf("format %d: kafka-go: %v", version, err)
			}
			got, err := readAll(t, written.Bytes()[4:])
			if err != nil {
				t.Errorf("format %d, attributes %d: %v", version, attributes, err)
				continue
			}
			var values []string
			for i, r := range got {
				values = append(values, fmt.Sprintf("%s=%s", r.Key, r.Value))
				if version > 0 && r.Time != when.UnixMilli() {
					t.Errorf("format %d: time of record %d: %d", version, i, r.Time)
				}
			}
			if diff := cmp.Diff([]string{"k=v", "=w"}, values); diff != "" {
				t.Errorf("format %d, attributes %d: %s", version, attributes, diff)
			}
		}
	}
}

// change changes a sealed batch, and seals it again.
func change(b []byte, f func(b []byte)) []byte {
	b = bytes.Clone(b)
	f(b)
	binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[attributesAt:], castagnoli))
	return b
}

// at gives a batch its first offset, and attributes.
func at(b []byte, offset int64, attributes uint16) []byte {
	return change(b, func(b []byte) {
		binary.BigEndian.PutUint64(b, uint64(offset))
		binary.BigEndian.PutUint16(b[attributesAt:], attributes)
	})
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	batch := func(producer, offset int64, attributes uint16, value string) []byte {
		return at(sealed(t, Producer{ID: producer, Known: true}, compress.None, Record{Value: []byte(value)}), offset, attributes)
	}
	log := bytes.Join([][]byte{
		batch(1, 0, transactional, "aborted"),
		batch(2, 1, transactional, "committed"),
		batch(3, 2, 0, "plain"),
		batch(1, 3, transactional, "aborted too"),
		batch(1, 4, transactional|control, "mark: aborted"),
		batch(1, 5, transactional, "committed later"),
		batch(2, 6, transactional|control, "mark: committed"),
		batch(1, 7, transactional|control, "mark: committed"),
		batch(1, 8, transactional, "aborted again"),
	}, nil)
	var r Records
	r.reset(log, []abort{{producer: 1, from: 0}, {producer: 1, from: 8}})
	var got []string
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d %s", record.Offset, record.Value))
	}
	if diff := cmp.Diff([]string{"1 committed", "2 plain", "5 committed later"}, got); diff != "" {
		t.Error(diff)
	}
	if r.Next != 9 {
		t.Errorf("Next = %d, want to be behind what was left out", r.Next)
	}
}

// The time that a server gives to a batch counts for its records, and what was
// compacted away at a batch's end is behind us too.
func TestServerSide(t *testing.T) {
	t.Parallel()
	b := change(at(sealed(t, Producer{}, compress.None, samples[:2]...), 100, logAppendTime), func(b []byte) {
		binary.BigEndian.PutUint64(b[35:], 42)            // the latest time
		binary.BigEndian.PutUint32(b[attributesAt+2:], 9) // the last offset, from the first
	})
	var r Records
	r.reset(b, nil)
	for want := range 2 {
		record, err := r.Read()
		if err != nil || record.Time != 42 || record.Offset != int64(100+want) {
			t.Errorf("record %+v, error %v", record, err)
		}
	}
	if _, err := r.Read(); !errors.Is(err, io.EOF) || r.Next != 110 {
		t.Errorf("then %v, next %d", err, r.Next)
	}
}

func TestBroken(t *testing.T) {
	t.Parallel()
	good := sealed(t, Producer{}, compress.None, samples...)
	zipped := sealed(t, Producer{}, compress.Gzip, samples...)
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 0xff
		return b
	}
	for name, test := range map[string]struct {
		batch []byte
		want  string // of the error; empty: none, and no records
	}{
		"nothing":             {nil, ""},
		"cut off":             {good[:len(good)-1], ""},
		"cut off early":       {good[:10], ""},
		"a bit":               {flip(good, len(good)-5), "checksum"},
		"a later format":      {change(good, func(b []byte) { b[magicAt] = 3 }), "format 3"},
		"no room for records": {change(good[:recordsAt+1], func(b []byte) { binary.BigEndian.PutUint32(b[batchLengthAt:], recordsAt+1-12) }), "offset 0"},
		"a length":            {change(good, func(b []byte) { b[recordsAt] = 0xff }), "before it should"},
		"compressed garbage":  {change(zipped, func(b []byte) { b[recordsAt] ^= 0xff }), "gzip"},
		"a method":            {at(good, 0, 7), "method 7"},
		"an old format":       {change(good, func(b []byte) { b[magicAt] = 1 }), "format 1"},
	} {
		_, err := readAll(t, test.batch)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	p := Produce{sent: []*Part{{Topic: "a", Number: 0}, {Topic: "a", Number: 1}, {Topic: "b", Number: 0}}}
	p.parts = append(p.parts, p.sent...)
	p.parts = append(p.parts, &Part{Topic: "c"})
	a0, a1, b0, c0 := p.parts[0], p.parts[1], p.parts[2], p.parts[3]
	p.results = make([]result, 3)
	text := appendText
	u32 := binary.BigEndian.AppendUint32
	u64 := binary.BigEndian.AppendUint64
	r := u32(nil, 2)
	r = text(r, "a")
	r = u32(r, 2)
	r = append(u32(r, 1), 0, 0) // partition 1, no error
	r = u64(u64(u64(r, 5), 0), 0)
	r = append(u32(r, 0), 0xff, 0xff)
	r = append(u32(r, 0), 0, 87) // partition 0: invalid record
	r = u64(u64(u64(r, 0), 0), 0)
	r = text(u32(u32(r, 1), 3), "no key") // record 3
	r = text(r, "one is wrong")
	r = text(r, "x") // a topic that nobody asked for
	r = u32(r, 0)
	r = u32(r, 0) // throttled
	if err := p.parse(r, 8); err != nil {
		t.Fatal(err)
	}
	p.Conclude()
	if a1.Err != nil || a0.Err == nil || !strings.Contains(a0.Err.Error(), "one is wrong") || a0.Rejected[3] == nil || a0.Rejected[3].Error() != "no key" {
		t.Errorf("a/0: %v, %v; a/1: %v", a0.Err, a0.Rejected, a1.Err)
	}
	if !errors.Is(b0.Err, errUnanswered) || !errors.Is(c0.Err, ErrElsewhere) {
		t.Errorf("b/0: %v, c/0: %v", b0.Err, c0.Err)
	}
	for n := range r[:len(r)-4] {
		q := Produce{sent: []*Part{{Topic: "a", Number: 0}}, results: make([]result, 1)}
		if err := q.parse(r[:n], 8); err == nil {
			t.Errorf("an answer cut off after %d of %d bytes is taken", n, len(r))
		}
	}
}

// Versions before ours, and an answer to something else, are errors that say
// what to do.
func TestExchange(t *testing.T) {
	t.Parallel()
	answer := func(b ...byte) io.ReadWriter {
		return struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}
	}
	old := &Fetch{version: 3}
	if _, err := old.RawExchange(answer()); err == nil || !strings.Contains(err.Error(), "Kafka 0.11 or later") {
		t.Errorf("an old server: %v", err)
	}
	var f Fetch
	f.Begin("me", "t", 0, 0, 1, time.Second)
	f.Required(map[protocol.ApiKey]int16{protocol.Fetch: 11})
	for _, b := range [][]byte{{0, 0, 0, 4, 0, 0, 0, 2}, {0, 0, 0, 3, 0, 0, 0, 1}, {0xff, 0, 0, 0, 0, 0, 0, 1}} {
		if _, err := f.RawExchange(answer(b...)); err == nil || !strings.Contains(err.Error(), "mixes up") {
			t.Errorf("answer %v: %v", b, err)
		}
	}
	if _, err := f.RawExchange(answer(0, 0)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut connection: %v", err)
	}
}

func TestMemory(t *testing.T) {
	b := sealed(t, Producer{}, compress.None, samples...)
	var r Records
	var batch Batch
	var h Headers
	if n := testing.AllocsPerRun(100, func() {
		r.reset(b, nil)
		for {
			record, err := r.Read()
			if err != nil {
				break
			}
			_ = record
		}
	}); n != 0 {
		t.Errorf("reading allocates %v times", n)
	}
	batch.Begin()
	if n := testing.AllocsPerRun(100, func() {
		batch.Begin()
		for i := range samples {
			add(&batch, &samples[i], &h)
		}
		if err := batch.Seal(Producer{}, compress.None); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("writing allocates %v times", n)
	}
	var p pool
	for _, n := range []int{0, 1, 7, 8, 1 << 20} {
		for range 2 {
			got := p.Get(n)
			if len(got) != n {
				t.Errorf("Get(%d) has %d", n, len(got))
			}
			p.Put(got)
		}
	}
}

// FuzzRecords reads what may come, and writes and reads again what it has found.
// Compressed batches and older formats are left out: kafka-go reads those, and its
// snappy takes any length for true.
func FuzzRecords(f *testing.F) {
	f.Add(sealed(f, Producer{}, compress.None, samples[:3]...), int64(1))
	f.Add(at(sealed(f, Producer{ID: 1, Known: true}, compress.None, samples[:3]...), 5, transactional), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, producer int64) {
		if len(b) >= recordsAt { // or hardly any input would get past the sum
			b = bytes.Clone(b)
			b[magicAt], b[attributesAt+1] = magic, b[attributesAt+1]&^compressionMask
			binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[attributesAt:], castagnoli))
			binary.BigEndian.PutUint32(b[batchLengthAt:], uint32(len(b)-12))
		}
		records, err := readAll(t, b, abort{producer: producer})
		if err != nil || len(records) == 0 {
			return
		}
		again, err := readAll(t, sealed(t, Producer{}, compress.None, records...))
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		for i := range records {
			records[i].Offset = int64(i)
		}
		if diff := cmp.Diff(records, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzResponses(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 1, 'a', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, int16(8))
	f.Fuzz(func(_ *testing.T, b []byte, version int16) {
		p := Produce{sent: []*Part{{Topic: "a"}}, results: make([]result, 1)}
		_ = p.parse(b, version)
		var fetch Fetch
		if fetch.parse(b, version) == nil {
			for {
				if _, err := fetch.Records.Read(); err != nil {
					break
				}
			}
		}
	})
}
