// Package attrs writes a Header as text, for places that cannot hold one as it
// is: a protocol whose headers have no order, a column of a table.
package attrs

import (
	"net/url"
	"strings"

	"github.com/grpc-micro/micro/pubsub"
)

// Encode keeps everything of h: key=value&key=value, in order, as a URL's query
// is written. It is printable ASCII without spaces; "" for no attributes.
func Encode(h pubsub.Header) string {
	var b strings.Builder
	for i, a := range h {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(a.Key))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(string(a.Value)))
	}
	return b.String()
}

// Decode is the way back. It is false for what Encode did not make: an attribute
// without a key, for one, could not be published again.
func Decode(s string) (pubsub.Header, bool) {
	if s == "" {
		return nil, true
	}
	var h pubsub.Header
	for pair := range strings.SplitSeq(s, "&") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, false
		}
		key, err := url.QueryUnescape(key)
		if err != nil || key == "" {
			return nil, false
		}
		value, err = url.QueryUnescape(value)
		if err != nil {
			return nil, false
		}
		h = append(h, pubsub.Attr{Key: key, Value: []byte(value)})
	}
	return h, true
}
