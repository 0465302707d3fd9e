package inbox

// What the tests of the wire format look at.
var (
	Check  = check
	Encode = encode
	Decode = decode
)
