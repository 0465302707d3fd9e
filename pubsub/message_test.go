package pubsub_test

import (
	"strings"
	"testing"

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
