package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errShort says that a response or a record ends before it should.
var errShort = errors.New("kafka: a response ends before it should: the connection, or what is between us and the server, mixes up bytes")

// cursor reads values, one after the other. After the first that is not there
// it returns zeros, and err is set.
type cursor struct {
	b   []byte
	err error
}

// take returns the next n bytes, which are the cursor's.
func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.fail()
		return nil
	}
	taken := c.b[:n:n]
	c.b = c.b[n:]
	return taken
}

func (c *cursor) fail() {
	c.b = nil
	if c.err == nil {
		c.err = errShort
	}
}

func (c *cursor) int8() int8 {
	if b := c.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (c *cursor) int16() int16 {
	if b := c.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if b := c.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (c *cursor) int64() int64 {
	if b := c.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// varint reads an integer in ZigZag and base 128.
func (c *cursor) varint() int64 {
	if len(c.b) > 0 && c.b[0] < 0x80 { // most are lengths
		v := int64(c.b[0]>>1) ^ -int64(c.b[0]&1)
		c.b = c.b[1:]
		return v
	}
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

// varbytes reads bytes behind their length; nil where that is -1.
func (c *cursor) varbytes() []byte {
	n := c.varint()
	if n == -1 {
		return nil
	}
	if n < 0 || n > int64(len(c.b)) {
		c.fail()
		return nil
	}
	return c.take(int(n))
}

// text reads a string; empty where it is null.
func (c *cursor) text() string {
	n := c.int16()
	if n == -1 {
		return ""
	}
	return string(c.take(int(n)))
}

// count reads the length of an array, of elements that have at least size bytes.
func (c *cursor) count(size int) int {
	n := c.int32()
	if n > 0 && int(n) > len(c.b)/size {
		c.fail()
		return 0
	}
	return max(int(n), 0) // -1 is null
}

// version returns an error unless the server takes one that we know.
func checkVersion(request string, v, least, most int16) error {
	if v < least || v > most {
		return fmt.Errorf("kafka: the server takes version %d of %s requests, and we know %d to %d: use Kafka 0.11 or later", v, request, least, most)
	}
	return nil
}
