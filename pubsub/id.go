package pubsub

import (
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// newID returns a version 7 UUID (RFC 9562): 48 bits of time, so that
// databases can index it, and 74 random ones. They come from the runtime's
// ChaCha8, which the kernel seeds; a system call for each message would cost
// more than the rest of publishing.
func newID(t time.Time) string {
	ms := uint64(t.UnixMilli())
	a, b := rand.Uint64(), rand.Uint64() //nolint:gosec // an ID is unique, and no secret
	raw := [16]byte{
		byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms),
		0x70 | byte(a>>8)&0x0f, byte(a),
		0x80 | byte(b>>56)&0x3f, byte(b >> 48), byte(b >> 40), byte(b >> 32), byte(b >> 24), byte(b >> 16), byte(b >> 8), byte(b),
	}
	var text [36]byte
	hex.Encode(text[0:8], raw[0:4])
	hex.Encode(text[9:13], raw[4:6])
	hex.Encode(text[14:18], raw[6:8])
	hex.Encode(text[19:23], raw[8:10])
	hex.Encode(text[24:36], raw[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
