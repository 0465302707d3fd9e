package codec

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Proto is the binary encoding of protobuf. It takes proto messages only.
// Events use it; RPCs in proto go through grpc's own codec, which writes the
// same bytes.
var Proto Codec = protoCodec{}

type protoCodec struct{}

func (protoCodec) Name() string { return protoName }

func (protoCodec) ContentTypes() []string { return protoTypes }

func (protoCodec) Append(dst []byte, v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return dst, notProto(v)
	}
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil {
		return dst, fmt.Errorf("codec: encode %T as proto: %w", v, err)
	}
	return out, nil
}

func (protoCodec) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return notProto(v)
	}
	if err := proto.Unmarshal(data, m); err != nil {
		return fmt.Errorf("codec: decode %T from proto: %w", v, err)
	}
	return nil
}

// protoName is the content-subtype that grpc's own codec has.
const protoName = "proto"

var protoTypes = []string{"application/protobuf", "application/x-protobuf"}

func notProto(v any) error {
	return fmt.Errorf("codec: proto encodes proto messages, and %T is none: use the json codec, or a pointer to a generated message", v)
}
