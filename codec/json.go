package codec

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// JSON encodes proto messages by the proto JSON mapping (protojson), and other
// values by encoding/json, so that a topic of plain structs works too.
//
// Fields that the reader does not know are ignored in both, as the binary
// encoding ignores them: a reader must not fail because a writer is newer. The
// bytes of protojson are not stable from one build to the next.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

func (jsonCodec) ContentTypes() []string { return jsonTypes }

func (jsonCodec) Append(dst []byte, v any) ([]byte, error) {
	var out []byte
	var err error
	if m, ok := v.(proto.Message); ok {
		out, err = protojson.MarshalOptions{}.MarshalAppend(dst, m)
	} else if out, err = json.Marshal(v); err == nil {
		out = append(dst, out...)
	}
	if err != nil {
		return dst, fmt.Errorf("codec: encode %T as json: %w", v, err)
	}
	return out, nil
}

func (jsonCodec) Unmarshal(data []byte, v any) error {
	var err error
	if m, ok := v.(proto.Message); ok {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, m)
	} else {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fmt.Errorf("codec: decode %T from json: %w", v, err)
	}
	return nil
}

var jsonTypes = []string{"application/json"}
