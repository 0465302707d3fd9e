package nats

// What the tests of the wire format and of the assignment look at.
var (
	Encode      = encode
	Decode      = decode
	DecodeEntry = decodeEntry
	Assign      = assign
)
