package codec

// Codec turns values into bytes and back. It is written once and serves both
// RPCs ([Register] wraps it as a grpc encoding.CodecV2) and events (chosen by
// content type). Its methods are safe for concurrent use.
type Codec interface {
	// Name is the content-subtype of RPCs: "json" is application/grpc+json.
	// Lower case, constant.
	Name() string

	// ContentTypes are the media types of events in this encoding, lower case
	// and without parameters; the first is the one to write.
	ContentTypes() []string

	// Append appends the encoding of v to dst and returns the extended slice,
	// as the append functions of the standard library do. When it fails it
	// returns dst unchanged in length.
	Append(dst []byte, v any) ([]byte, error)

	// Unmarshal decodes data into v, a pointer, and keeps no reference to
	// data. When it fails, v may have been changed in part.
	Unmarshal(data []byte, v any) error
}
