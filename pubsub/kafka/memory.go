package kafka

import (
	"bytes"
	"strings"
)

// memory gives out small pieces of larger ones, so that a message costs a
// fraction of an allocation. A message that somebody keeps has its neighbours'
// memory kept too: that is why the pieces are not as large as an answer. The
// zero value is ready.
type memory struct {
	block      []byte
	deliveries []delivery
	text       strings.Builder
}

const (
	blockSize      = 16 << 10
	blockMost      = blockSize / 8 // what is larger is allocated by itself
	deliveriesSize = 16
	textSize       = 1 << 10
	textMost       = textSize / 8
)

// delivery returns a new one.
func (m *memory) delivery() *delivery {
	if len(m.deliveries) == 0 {
		m.deliveries = make([]delivery, deliveriesSize)
	}
	d := &m.deliveries[0]
	m.deliveries = m.deliveries[1:]
	return d
}

// clone copies b; nil stays nil, and empty does not become nil.
func (m *memory) clone(b []byte) []byte {
	if b == nil || len(b) > blockMost {
		return bytes.Clone(b)
	}
	if m.block == nil || len(b) > cap(m.block)-len(m.block) {
		m.block = make([]byte, 0, blockSize)
	}
	start := len(m.block)
	m.block = append(m.block, b...)
	return m.block[start:len(m.block):len(m.block)]
}

// string copies b.
func (m *memory) string(b []byte) string {
	if len(b) > textMost {
		return string(b)
	}
	if len(b) > m.text.Cap()-m.text.Len() {
		m.text = strings.Builder{}
		m.text.Grow(textSize)
	}
	start := m.text.Len()
	m.text.Write(b)
	return m.text.String()[start:]
}
