package codec

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // "proto" is grpc's own
)

// byType holds the codec of each content type. It is written by init functions
// only.
var byType = map[string]Codec{}

func init() {
	addTypes(Proto)
	Register(JSON)
}

// Register makes c one of grpc's codecs, under c.Name, with buffers from grpc's
// pool, and the one that [ForContentType] finds for its content types. A name
// or a content type of "proto" is not taken over; of codecs by one other name
// the last one stands, as in grpc.
//
// It panics on a name that grpc could not find again, and on "proto". Call it
// from an init function: like grpc's registration it is not safe beside
// anything else.
func Register(c Codec) {
	name := c.Name()
	switch {
	case name == protoName:
		panic(`codec: "proto" stays grpc's own codec for every client and server in the process: register yours by another name`)
	case name == "" || strings.ContainsFunc(name, notToken):
		panic(fmt.Sprintf("codec: %q cannot be a content-subtype: use lower-case letters, digits and -._", name))
	}
	encoding.RegisterCodecV2(pooled{c})
	addTypes(c)
}

// ForContentType returns the codec of a media type such as
// "application/json; charset=utf-8". Case and parameters do not matter.
func ForContentType(contentType string) (Codec, bool) {
	if c, ok := byType[contentType]; ok { // as our own publishers write it
		return c, true
	}
	media, _, _ := strings.Cut(contentType, ";")
	c, ok := byType[strings.ToLower(strings.TrimSpace(media))]
	return c, ok
}

// addTypes leaves a content type with the codec that had it first, unless that
// one has the same name.
func addTypes(c Codec) {
	for _, t := range c.ContentTypes() {
		if have, ok := byType[t]; !ok || have.Name() == c.Name() {
			byType[t] = c
		}
	}
}

// notToken reports what must not stand in a content-subtype: grpc looks it up
// in lower case and cuts it off at '+' and ';'.
func notToken(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
		return false
	}
	return true
}
