package codec_test

import (
	"testing"

	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/grpc-micro/micro/codec"
)

// Why events do not go through grpc's CodecV2.
func BenchmarkEncode(b *testing.B) {
	m := wrapperspb.String("ten bytes.")
	for _, c := range []codec.Codec{codec.Proto, codec.JSON} {
		b.Run(c.Name()+"/Append", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Append(nil, m); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.Name()+"/CodecV2", func(b *testing.B) {
			v2 := encoding.GetCodecV2(c.Name())
			b.ReportAllocs()
			for b.Loop() {
				data, err := v2.Marshal(m)
				if err != nil {
					b.Fatal(err)
				}
				_ = data.Materialize()
				data.Free()
			}
		})
	}
}

func BenchmarkForContentType(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := codec.ForContentType("application/protobuf"); !ok {
			b.Fatal("unknown")
		}
	}
}
