package inbox_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	microv1 "github.com/grpc-micro/micro/proto/micro/v1"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/inbox"
)

// What passes the check travels, and comes as it went.
func FuzzWire(f *testing.F) {
	f.Add("id", "type", "key", []byte("1"), []byte("k"), []byte("v"), int64(1))
	f.Add("", "\xff", "", []byte{}, []byte(nil), []byte{}, int64(-1<<62))
	f.Fuzz(func(t *testing.T, id, typ, name string, header, key, value []byte, at int64) {
		m := &pubsub.Message{ID: id, Type: typ, Topic: "t", Key: key, Value: value, Time: time.Unix(at, 7).UTC()}
		if name != "" {
			m.Header = pubsub.Header{{Key: name, Value: header}}
		}
		if m.Check() != nil || inbox.Check(m) != nil {
			return
		}
		data, err := proto.Marshal(&microv1.DeliverRequest{Event: inbox.Encode(m)})
		if err != nil {
			t.Fatalf("it passed the check: %v", err)
		}
		var r microv1.DeliverRequest
		if err := proto.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		got := inbox.Decode(r.GetEvent())
		if diff := cmp.Diff(m, got, cmp.Comparer(bytes.Equal)); diff != "" || (got.Key == nil) != (key == nil) || (got.Value == nil) != (value == nil) {
			t.Errorf("sent (-) and got (+): %s", diff)
		}
	})
}

// What anybody can send must not do any harm.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\n\x01m\x12\x02\x52\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r microv1.DeliverRequest
		if proto.Unmarshal(data, &r) != nil {
			return
		}
		m := inbox.Decode(r.GetEvent())
		m.Topic = "t"
		if err := m.Check(); err != nil {
			t.Errorf("it cannot be published again, as a dead letter: %v", err)
		}
	})
}
