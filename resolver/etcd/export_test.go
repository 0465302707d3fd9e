package etcd

// The value is the contract with other programs, so it is fuzzed by itself.
var (
	Encode = encode
	Decode = decode
)
