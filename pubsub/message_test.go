package pubsub_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-micro/micro/pubsub"
)

func TestHeader(t *testing.T) {
	t.Parallel()
	h := pubsub.Header{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}, {Key: "a", Value: []byte("3")}}
	if got := string(h.Get("a")); got != "3" {
		t.Errorf("Get returned %q, want the last", got)
	}
	if h.Get("none") != nil {
		t.Error("Get found what is not there")
	}
	if diff := cmp.Diff([][]byte{[]byte("1"), []byte("3")}, h.Values("a")); diff != "" {
		t.Error(diff)
	}
	value := []byte("4")
	h.Set("a", value)
	value[0] = 'x'
	if diff := cmp.Diff(pubsub.Header{{Key: "b", Value: []byte("2")}, {Key: "a", Value: []byte("4")}}, h); diff != "" {
		t.Error(diff)
	}
}

func TestCheckTopic(t *testing.T) {
	t.Parallel()
	for topic, ok := range map[string]bool{
		"greeter.greeted":        true,
		"A-b_c.9":                true,
		"...":                    true,
		strings.Repeat("t", 249): true,
		strings.Repeat("t", 250): false,
		"":                       false,
		".":                      false,
		"..":                     false,
		"a b":                    false,
		"a/b":                    false,
		"ä":                      false,
		"a\x00":                  false,
	} {
		if err := (&pubsub.Message{Topic: topic}).Check(); (err == nil) != ok {
			t.Errorf("topic %q: %v", topic, err)
		}
	}
}

// Whatever a producer has written, it can be published again.
func TestReceived(t *testing.T) {
	t.Parallel()
	stored := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct{ time, stored, want time.Time }{
		"none":                  {time.Time{}, stored, stored},
		"one of its own":        {time.Unix(1, 1), stored, time.Unix(1, 1)},
		"in no year of UTC":     {time.Date(0, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600)), stored, stored},
		"nanoseconds for":       {time.UnixMilli(1_700_000_000_000_000_000), stored, stored},
		"both are of no use":    {time.UnixMilli(math.MaxInt64), time.UnixMilli(math.MinInt64), time.Time{}},
		"the last one there is": {time.Unix(253_402_300_799, 999_999_999), stored, time.Unix(253_402_300_799, 999_999_999)},
	} {
		m := &pubsub.Message{Topic: "t", Time: test.time, Header: pubsub.Header{{Key: "a"}, {}, {Key: "ce_id", Value: []byte("1")}, {Key: "b"}}}
		pubsub.Received(m, test.stored)
		if !m.Time.Equal(test.want) {
			t.Errorf("%s: the time is %v, want %v", name, m.Time, test.want)
		}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(m.Header) != 2 || m.Header[0].Key != "a" || m.Header[1].Key != "b" {
			t.Errorf("%s: the header is %v", name, m.Header)
		}
	}
}
