package codec_test

import (
	"testing"

	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"

	"github.com/grpc-micro/micro/codec"
)

// What decodes, encodes again to something that decodes to the same.
func fuzzCodec(f *testing.F, c codec.Codec) {
	seed, err := c.Append(nil, fullRequest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second grpc_testing.SimpleRequest
		if c.Unmarshal(data, &first) != nil {
			return
		}
		again, err := c.Append(nil, &first)
		if err != nil {
			t.Fatalf("decoded %q, and cannot encode it: %v", data, err)
		}
		if err := c.Unmarshal(again, &second); err != nil || !proto.Equal(&first, &second) {
			t.Fatalf("%v became %v (%v)", &first, &second, err)
		}
	})
}

func FuzzProto(f *testing.F) { fuzzCodec(f, codec.Proto) }

func FuzzJSON(f *testing.F) { fuzzCodec(f, codec.JSON) }

func FuzzForContentType(f *testing.F) {
	f.Add("application/json; charset=utf-8")
	f.Fuzz(func(t *testing.T, contentType string) {
		if c, ok := codec.ForContentType(contentType); ok && c == nil {
			t.Error("found, and nil")
		}
	})
}

func fullRequest() *grpc_testing.SimpleRequest {
	return &grpc_testing.SimpleRequest{
		ResponseType:   grpc_testing.PayloadType_COMPRESSABLE,
		ResponseSize:   7,
		Payload:        &grpc_testing.Payload{Body: []byte("body")},
		ResponseStatus: &grpc_testing.EchoStatus{Code: 5, Message: "größe"},
	}
}
