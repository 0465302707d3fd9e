package nats_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	natsgo "github.com/nats-io/nats.go"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/nats"
)

var someTime = time.Date(2026, 11, 23, 8, 3, 0, 123456789, time.UTC)

// The header names and the encoding are those of the CloudEvents NATS binding.
func TestWireFormat(t *testing.T) {
	t.Parallel()
	m := &pubsub.Message{
		ID: "1", Type: "greeter.v1.Greeted", Source: "/greeter", Subject: "Euro € 😀", Topic: "t",
		ContentType: "application/protobuf", Key: []byte("a key"), Value: []byte("v"), Time: someTime,
		Header: pubsub.Header{{Key: "ce_extension", Value: []byte("x")}, {Key: "traceparent", Value: []byte("00-1")}},
	}
	out := nats.Encode(m, "t.3")
	want := natsgo.Header{
		"ce-specversion":     {"1.0"},
		"ce-id":              {"1"},
		"ce-source":          {"/greeter"},
		"ce-type":            {"greeter.v1.Greeted"},
		"ce-subject":         {"Euro%20%E2%82%AC%20%F0%9F%98%80"},
		"ce-time":            {"2026-11-23T08:03:00.123456789Z"},
		"ce-datacontenttype": {"application/protobuf"},
		"ce-partitionkey":    {"a%20key"},
		"ce-extension":       {"x"},
		"traceparent":        {"00-1"},
		"Nats-Msg-Id":        {"/greeter 1"},
	}
	if diff := cmp.Diff(want, out.Header); diff != "" || out.Subject != "t.3" || string(out.Data) != "v" {
		t.Errorf("encoded as %s %q, headers want (-) and got (+): %s", out.Subject, out.Data, diff)
	}
}

// A publication is told from others of the same event by what package pubsub
// has noted in it, and by nothing else.
func TestDedupID(t *testing.T) {
	t.Parallel()
	id := func(source, id string, header ...pubsub.Attr) string {
		return nats.Encode(&pubsub.Message{ID: id, Source: source, Header: header}, "t.0").Header.Get("Nats-Msg-Id")
	}
	note := func(value string) pubsub.Attr { return pubsub.Attr{Key: "micro-dead-time", Value: []byte(value)} }
	different := []string{id("", "a b"), id("a", "b"), id("", "b"), id("a", "b", note("1")), id("a", "b", note("2"))}
	slices.Sort(different)
	if n := len(slices.Compact(slices.Clone(different))); n != 5 {
		t.Errorf("five publications have %d IDs: %q", n, different)
	}
	if with, without := id("a", "b", pubsub.Attr{Key: "traceparent", Value: []byte("1")}), id("a", "b"); with != without {
		t.Errorf("a trace context makes another ID of %q: %q", without, with)
	}
}

// What other programs write is read, as far as it has a meaning.
func TestDecodeForeign(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		header natsgo.Header
		want   pubsub.Message
	}{
		{"nothing", nil, pubsub.Message{}},
		{"plain", natsgo.Header{"Nats-Msg-Id": {"7"}, "Content-Type": {"text/plain"}, "b": {"1", "2"}, "A": {"3"}}, pubsub.Message{
			ID: "7", ContentType: "text/plain",
			Header: pubsub.Header{{Key: "A", Value: []byte("3")}, {Key: "b", Value: []byte("1")}, {Key: "b", Value: []byte("2")}},
		}},
		{"other case, quoted, encoded for no reason", natsgo.Header{"Ce-Id": {`"a \"b\""`}, "CE-Type": {"%74"}, "ce-source": {"100%"}, "ce-time": {"yesterday"}}, pubsub.Message{
			ID: `a "b"`, Type: "t", Source: "100%",
		}},
		{"extension", natsgo.Header{"Ce-Tenant": {"x"}, "Nats-Expected-Stream": {"S"}}, pubsub.Message{Header: pubsub.Header{{Key: "ce_tenant", Value: []byte("x")}}}},
		{"broken micro-header", natsgo.Header{"micro-header": {"%zz=1"}, "a": {"1"}}, pubsub.Message{Header: pubsub.Header{{Key: "a", Value: []byte("1")}}}},
	} {
		test.want.Topic, test.want.Value, test.want.Time = "t", []byte("v"), someTime
		if diff := cmp.Diff(&test.want, nats.Decode(test.header, []byte("v"), "t", someTime)); diff != "" {
			t.Errorf("%s: want (-) and got (+): %s", test.name, diff)
		}
	}
}

// A message cannot tell the server anything: no header of ours that has a
// meaning for NATS comes from a message's Header.
func TestHeaderCannotCommand(t *testing.T) {
	t.Parallel()
	want := pubsub.Header{
		{Key: "Nats-Rollup", Value: []byte("all")},
		{Key: "nats-expected-last-sequence", Value: []byte("0")},
		{Key: "Nats-Msg-Id", Value: []byte("other")},
		{Key: "ce-id", Value: []byte("other")},
		{Key: "micro-tombstone", Value: []byte("1")},
		{Key: "with: colon", Value: []byte("1")},
		{Key: "newline", Value: []byte("1\r\nNats-Rollup: all")},
	}
	out := nats.Encode(&pubsub.Message{ID: "1", Topic: "t", Value: []byte("v"), Time: someTime, Header: want}, "t.0")
	for name := range out.Header {
		if !slices.Contains([]string{"Nats-Msg-Id", "ce-specversion", "ce-id", "ce-time", "micro-header"}, name) {
			t.Errorf("header %s: %q", name, out.Header[name])
		}
	}
	if id := out.Header["ce-id"]; !slices.Equal(id, []string{"1"}) {
		t.Errorf("ce-id is %q", id)
	}
	got := nats.Decode(out.Header, out.Data, "t", someTime)
	if diff := cmp.Diff(want, got.Header); diff != "" || got.ID != "1" {
		t.Errorf("ID %q, header want (-) and got (+): %s", got.ID, diff)
	}
}

func FuzzWire(f *testing.F) {
	f.Add("id", "type", "source", "a", []byte("1"), "b", []byte{0, 0xff}, []byte("key"), []byte("value"))
	f.Add("", "%41", `"quoted"`, "ce_x", []byte(" x "), "Nats-Rollup", []byte("all"), []byte{}, []byte(nil))
	f.Fuzz(func(t *testing.T, id, typ, source, k1 string, v1 []byte, k2 string, v2, key, value []byte) {
		m := &pubsub.Message{ID: id, Type: typ, Source: source, Topic: "t", Key: key, Value: value, Time: someTime}
		for _, a := range []pubsub.Attr{{Key: k1, Value: v1}, {Key: k2, Value: v2}} {
			if a.Key != "" {
				m.Header = append(m.Header, a)
			}
		}
		if m.Check() != nil || id == "" {
			t.Skip()
		}
		out := nats.Encode(m, "t.0")
		for name, values := range out.Header {
			for _, v := range values {
				if strings.ContainsAny(name+v, "\r\n\x00") {
					t.Fatalf("header %q: %q breaks the protocol", name, v)
				}
			}
		}
		got := nats.Decode(out.Header, out.Data, "t", someTime.Add(time.Hour))
		equal := cmp.Comparer(bytes.Equal)
		if diff := cmp.Diff(m, got, equal); diff != "" || (got.Value == nil) != (value == nil) || (got.Key == nil) != (key == nil) {
			t.Errorf("sent (-) and got (+): %s", diff)
		}
	})
}

// What anybody can write must not do any harm.
func FuzzDecode(f *testing.F) {
	f.Add("ce-id", "%", "micro-header", "a=1&b", []byte(`{"owner":"m","next":3,"finished":"lanes1:AgM"}`))
	f.Add("", "x", "ce-time", "2026-11-23T08:03:00Z", []byte(`{"next":-1}`))
	f.Add("ce_id", "x", "ce-time", "0000-01-01T00:00:00+01:00", []byte(`{}`))
	f.Add("x", "x", "micro-header", "ce_type=1&x=2", []byte(`{}`))
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string, data []byte) {
		m := nats.Decode(natsgo.Header{k1: {v1}, k2: {v2}}, data, "t", someTime)
		if err := m.Check(); err != nil {
			t.Errorf("it cannot be published again, as a dead letter: %v", err)
		}
		if e, err := nats.DecodeEntry(data); err == nil && (e.Next < 0 || !json.Valid(data)) {
			t.Errorf("%q was read as %+v", data, e)
		}
	})
}

// Each member gets its share, and members that stay keep most of what they have.
func TestAssign(t *testing.T) {
	t.Parallel()
	for n := range 40 {
		var members []string
		var before []string
		for k := range 12 {
			members = append(members, fmt.Sprintf("m%x", k*k*7919))
			owners := nats.Assign(n, members)
			shares := make(map[string]int)
			for _, o := range owners {
				shares[o]++
			}
			for _, m := range members {
				if s := shares[m]; s < n/len(members) || s > (n+len(members)-1)/len(members) {
					t.Errorf("%d partitions, %d members: one has %d", n, len(members), s)
				}
			}
			turned := slices.Clone(members)
			slices.Reverse(turned)
			if !slices.Equal(owners, nats.Assign(n, turned)) {
				t.Errorf("%d partitions, %d members: it depends on their order", n, len(members))
			}
			moved := 0
			for p, o := range before {
				if o != owners[p] && owners[p] != members[k] {
					moved++
				}
			}
			if moved > n/2+1 {
				t.Errorf("%d partitions, member %d joins: %d of them move between the others", n, k+1, moved)
			}
			before = owners
		}
	}
	if got := nats.Assign(3, nil); !slices.Equal(got, []string{"", "", ""}) {
		t.Errorf("without members: %q", got)
	}
}
