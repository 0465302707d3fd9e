package codec

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// pooled is a Codec as grpc wants it, with buffers from grpc's pool.
type pooled struct{ Codec }

var _ encoding.CodecV2 = pooled{}

// firstSize is the buffer that an encoding begins in: of the sizes that grpc
// keeps in its pool the first that it does pool.
const firstSize = 4 << 10

func (p pooled) Marshal(v any) (mem.BufferSlice, error) {
	pool := mem.DefaultBufferPool()
	buf := pool.Get(firstSize)
	out, err := p.Append((*buf)[:0], v)
	if err != nil {
		pool.Put(buf)
		return nil, err
	}
	if cap(out) != cap(*buf) { // outgrown: out is another array, and not the pool's
		pool.Put(buf)
		return mem.BufferSlice{mem.SliceBuffer(out)}, nil
	}
	*buf = out
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

func (p pooled) Unmarshal(data mem.BufferSlice, v any) error {
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	return p.Codec.Unmarshal(buf.ReadOnlyData(), v)
}
