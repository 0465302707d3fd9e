package wire

import "encoding/binary"

// Headers are the headers of a record to publish, as they stand in a batch. They
// are made once and copied once. The zero value has none.
type Headers struct {
	n   int
	buf []byte
}

// Add adds a header; a nil value is null.
func (h *Headers) Add(key string, value []byte) {
	h.key(key)
	h.buf = appendBytes(h.buf, value)
}

// AddText adds a header whose value is text.
func (h *Headers) AddText(key, value string) {
	h.key(key)
	h.buf = binary.AppendVarint(h.buf, int64(len(value)))
	h.buf = append(h.buf, value...)
}

func (h *Headers) key(key string) {
	h.n++
	h.buf = binary.AppendVarint(h.buf, int64(len(key)))
	h.buf = append(h.buf, key...)
}

// Mark returns where the headers end now, for [Headers.Cut].
func (h *Headers) Mark() Mark { return Mark{h.n, len(h.buf)} }

// Mark is a place behind some headers. The zero value is before the first.
type Mark struct{ n, size int }

// Cut removes the headers behind m. Their memory is kept for the next ones.
func (h *Headers) Cut(m Mark) { h.n, h.buf = m.n, h.buf[:m.size] }
