package attrs_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grpc-micro/micro/internal/attrs"
	"github.com/grpc-micro/micro/pubsub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAttrs(t *testing.T) {
	t.Parallel()
	h := pubsub.Header{
		{Key: "traceparent", Value: []byte("00-1")}, {Key: "a b", Value: []byte("1&2=3")}, {Key: "a b", Value: []byte{}}, {Key: "bytes", Value: []byte{0, 0xff}},
	}
	const text = "traceparent=00-1&a+b=1%262%3D3&a+b=&bytes=%00%FF"
	if got := attrs.Encode(h); got != text {
		t.Errorf("encoded as %q, want %q", got, text)
	}
	got, ok := attrs.Decode(text)
	if diff := cmp.Diff(h, got); !ok || diff != "" {
		t.Errorf("want (-) and decoded (+): %s", diff)
	}
	for _, bad := range []string{"a", "=1", "a=%", "%zz=1", "a=1&"} {
		if got, ok := attrs.Decode(bad); ok {
			t.Errorf("%q was decoded as %q", bad, got)
		}
	}
	if got, ok := attrs.Decode(""); !ok || got != nil {
		t.Errorf("nothing was decoded as %q, %v", got, ok)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("a=1&b=%ff")
	f.Add("=&&")
	f.Fuzz(func(t *testing.T, text string) {
		h, ok := attrs.Decode(text)
		if !ok {
			return
		}
		once := attrs.Encode(h)
		if i := strings.IndexFunc(once, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
			t.Errorf("%q is not printable", once)
		}
		again, ok := attrs.Decode(once)
		if diff := cmp.Diff(h, again); !ok || diff != "" {
			t.Errorf("decoded (-) and once more (+): %s", diff)
		}
	})
}
