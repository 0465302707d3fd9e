package kafka

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/grpc-micro/micro/internal/lanes"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka/internal/wire"
)

// The example of RFC 7677, section 3.
func TestSCRAM(t *testing.T) {
	t.Parallel()
	m, err := newMechanism("scram-sha-256", "user", "pencil")
	if err != nil {
		t.Fatal(err)
	}
	m.(*scram).nonce = "rOprNGfwEbeRWgbNEkqO"
	const (
		challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
		final     = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	)
	talk := func(challenges ...string) (done bool, answers []string, err error) {
		c, first, err := m.Start(context.Background())
		answers = append(answers, string(first))
		for _, challenge := range challenges {
			var answer []byte
			if done, answer, err = c.Next(context.Background(), []byte(challenge)); err != nil {
				return done, answers, err
			}
			answers = append(answers, string(answer))
		}
		return done, answers, err
	}
	done, answers, err := talk(challenge, final)
	if err != nil || !done {
		t.Fatalf("done %v, error %v", done, err)
	}
	want := []string{
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"",
	}
	if diff := cmp.Diff(want, answers); diff != "" {
		t.Error(diff)
	}
	for _, bad := range [][]string{
		{""},
		{"e=no"},
		{"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"}, // nothing of the server's in the nonce
		{"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"},
		{strings.Replace(challenge, "i=4096", "i=0", 1)},
		{strings.Replace(challenge, "i=4096", "i=2000000000", 1)},
		{strings.Replace(challenge, "s=W", "s=!", 1)},
		{challenge, "e=invalid-proof"},
		{challenge, "v=AAAA"},
		{challenge, ""},
	} {
		if done, _, err := talk(bad...); err == nil || done {
			t.Errorf("%q: done %v, error %v", bad, done, err)
		}
	}
}

func FuzzSCRAM(f *testing.F) {
	f.Add("r=nonceX,s=AAAA,i=1", "v=AAAA")
	f.Add("e=", "")
	f.Fuzz(func(t *testing.T, challenge, final string) {
		if strings.Contains(challenge, "i=") && len(scramFields(challenge)["i"]) > 3 {
			return // it only takes longer
		}
		m := &scram{name: "x", hash: sha256.New, user: "u", password: "p", nonce: "nonce"}
		c, _, _ := m.Start(context.Background())
		if done, _, err := c.Next(context.Background(), []byte(challenge)); err != nil || done {
			return
		}
		if done, _, err := c.Next(context.Background(), []byte(final)); done && err == nil {
			t.Fatal("a server without the password was believed")
		}
	})
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 11, 23, 9, 0, 0, 5, time.UTC)
	for _, m := range []pubsub.Message{
		{ID: "1", Time: when},
		{ID: "1", Type: "a.B", Source: "/s", Subject: "ü", ContentType: "application/json", Time: when},
		{ID: "1", Time: when, Header: pubsub.Header{{Key: "x", Value: []byte("1")}, {Key: "X"}, {Key: "x", Value: []byte{}}, {Key: "ce_extension", Value: []byte("e")}}},
	} {
		var w headerWriter
		var r headerReader
		var got pubsub.Message
		r.read(written(t, &w, &m), time.Now(), &got)
		if diff := cmp.Diff(m, got); diff != "" {
			t.Error(diff)
		}
	}
}

// written returns what w writes, as kafka-go reads it.
func written(t testing.TB, w *headerWriter, m *pubsub.Message) []kafkago.Header {
	t.Helper()
	var b wire.Batch
	b.Begin()
	b.Add(0, nil, nil, w.write(m))
	if err := b.Seal(wire.Producer{}, kafkago.Compression(0)); err != nil {
		t.Fatal(err)
	}
	var set protocol.RecordSet
	if _, err := set.ReadFrom(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(b.Bytes()))), b.Bytes()...))); err != nil {
		t.Fatal(err)
	}
	record, err := set.Records.ReadRecord()
	if err != nil {
		t.Fatal(err)
	}
	return record.Headers
}

// A writer keeps what a message has in common with the one before, and no more.
func TestHeadersOfManyMessages(t *testing.T) {
	t.Parallel()
	var w headerWriter
	when := time.Date(2026, 11, 23, 9, 0, 0, 0, time.FixedZone("", 3600))
	messages := []pubsub.Message{{ID: "0", Source: "/s", Type: "T", ContentType: "c"}}
	for _, change := range []func(*pubsub.Message){
		func(m *pubsub.Message) { m.ID = "1" },
		func(m *pubsub.Message) { m.Header = pubsub.Header{{Key: "x", Value: []byte("1")}} },
		func(m *pubsub.Message) { m.Header = nil },
		func(m *pubsub.Message) { m.Source = "/other" },
		func(m *pubsub.Message) { m.Type = "Other" },
		func(m *pubsub.Message) { m.Subject = "u" },
		func(m *pubsub.Message) { m.ContentType = "other" },
		func(m *pubsub.Message) { m.ID, m.Source, m.Type, m.Subject, m.ContentType = "", "", "", "", "" },
		func(m *pubsub.Message) { m.ContentType = "c" },
	} {
		next := messages[len(messages)-1]
		change(&next)
		messages = append(messages, next)
	}
	for i, fraction := range []time.Duration{0, 1, 10, 123456789, 100 * time.Millisecond, 999999999, time.Second, -1, 24 * time.Hour, -80 * 365 * 24 * time.Hour} {
		m := &messages[i%len(messages)]
		m.Time = when.Add(fraction)
		var id, at string
		for _, h := range written(t, &w, m) {
			switch h.Key {
			case headerID:
				id = string(h.Value)
			case headerTime:
				at = string(h.Value)
			}
		}
		if want := m.Time.UTC().Format(time.RFC3339Nano); at != want || id != m.ID {
			t.Errorf("message %d: %s %s, want %s %s", i, id, at, m.ID, want)
		}
		var got pubsub.Message
		new(headerReader).read(written(t, &w, m), time.Now(), &got)
		want := *m
		want.Time = want.Time.UTC()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("message %d: %s", i, diff)
		}
	}
}

func TestHeadersOfOthers(t *testing.T) {
	t.Parallel()
	recorded := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	var got pubsub.Message
	new(headerReader).read([]kafkago.Header{
		{Key: "ce_specversion", Value: []byte("0.3")},
		{Key: "ce_id", Value: []byte("first")},
		{Key: "ce_time", Value: []byte("yesterday")},
		{Key: "", Value: []byte("nameless")},
		{Key: "Content-Type", Value: []byte("text/plain")},
		{Key: "ce_id", Value: []byte("last")},
	}, recorded, &got)
	want := pubsub.Message{ID: "last", Time: recorded, Header: pubsub.Header{{Key: "Content-Type", Value: []byte("text/plain")}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got.Topic = "t"
	if err := got.Check(); err != nil {
		t.Errorf("it cannot be published again, as a dead letter: %v", err)
	}
}

func TestHeadersAllocate(t *testing.T) {
	m := &pubsub.Message{ID: "some-id", Type: "a.B", Source: "/s", ContentType: "application/json", Time: time.Now(), Header: pubsub.Header{{Key: "traceparent", Value: []byte("0")}}}
	var w headerWriter
	if n := testing.AllocsPerRun(100, func() { w.write(m) }); n != 0 {
		t.Errorf("writing allocates %v times", n)
	}
	m.Header = nil
	headers := written(t, &w, m)
	var r headerReader
	var got pubsub.Message
	if n := testing.AllocsPerRun(100, func() { r.read(headers, time.Now(), &got) }); n != 0 {
		t.Errorf("reading allocates %v times", n)
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("ce_id", []byte("1"), "x", []byte("y"), "ce_time", []byte("2026-11-23T09:00:00.5+01:00"), int64(0))
	f.Add("content-type", []byte("application/json"), "", []byte(nil), "ce_type", []byte{0xff}, int64(-1))
	f.Add("ce_id", []byte("1"), "x", []byte("y"), "ce_time", []byte("0000-01-01T00:00:00+01:00"), int64(1_700_000_000_000))
	f.Add("ce_id", []byte("1"), "x", []byte("y"), "x", []byte("y"), int64(1_700_000_000_000_000_000)) // of who writes nanoseconds
	f.Fuzz(func(t *testing.T, k1 string, v1 []byte, k2 string, v2 []byte, k3 string, v3 []byte, at int64) {
		m := pubsub.Message{Topic: "t"}
		new(headerReader).read([]kafkago.Header{{Key: k1, Value: v1}, {Key: k2, Value: v2}, {Key: k3, Value: v3}}, time.UnixMilli(at), &m)
		if err := m.Check(); err != nil {
			t.Fatalf("what was read cannot be published: %v", err)
		}
		if m.Time.IsZero() {
			return // it gets one when it is published
		}
		again := pubsub.Message{Topic: "t"}
		new(headerReader).read(written(t, new(headerWriter), &m), time.Now(), &again)
		if !again.Time.Equal(m.Time) {
			t.Fatalf("time %v became %v", m.Time, again.Time)
		}
		again.Time = m.Time
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRecordSizeIsEnough(t *testing.T) {
	t.Parallel()
	m := &pubsub.Message{
		ID: strings.Repeat("i", 300), Type: "t", Source: "s", Subject: "u", ContentType: "c", Time: time.Now(), Key: []byte("k"), Value: []byte("v"),
		Header: pubsub.Header{{Key: "a", Value: []byte("b")}},
	}
	encoded := len(m.Key) + len(m.Value) + 20 // varints
	for _, h := range written(t, new(headerWriter), m) {
		encoded += len(h.Key) + len(h.Value) + 4
	}
	if size := recordSize(m); size < encoded || size > encoded+200 {
		t.Errorf("recordSize = %d for %d bytes", size, encoded)
	}
}

// 0 is the first producer ID that a cluster gives, and like any other: a sender that
// has none yet gets it without another request, for which there is no broker here.
func TestProducerZero(t *testing.T) {
	t.Parallel()
	zero := producer{Producer: wire.Producer{Known: true}, assigned: true}
	p := producers{asking: make(chan struct{}, 1), current: zero}
	if got, err := p.get(t.Context(), producer{}); err != nil || got != zero {
		t.Errorf("%+v, %v", got, err)
	}
}

// The numbers go round at the end of 32 bits, as Kafka's own do.
func TestProducerGoesRound(t *testing.T) {
	t.Parallel()
	p := producer{Producer: wire.Producer{Sequence: math.MaxInt32 - 1}}
	if p.advance(1); p.Sequence != math.MaxInt32 {
		t.Errorf("sequence %d, want the highest", p.Sequence)
	}
	p.Sequence = math.MaxInt32 - 1
	if p.advance(3); p.Sequence != 1 {
		t.Errorf("sequence %d, want 1", p.Sequence)
	}
}

// A server that has nothing for us may take its time to say so. Only what is longer
// is silence, of which the log and an alert are.
func TestSilenceIsWhatIsOverdue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := lanes.New(t.Context(), lanes.Config[*delivery]{Concurrency: 1, Window: 1, Handle: func(context.Context, *delivery, int) (time.Duration, error) { return 0, nil }})
		defer pool.Close(t.Context())
		var r reader
		r.queue.Store(pool.Partition(lanes.Position{}))
		r.asked.Store(time.Now().UnixNano())
		time.Sleep(fetchWait)
		if silent := r.state().Silent; silent != 0 {
			t.Errorf("silent for %v after %v, which a server may take", silent, fetchWait)
		}
		time.Sleep(time.Minute)
		if silent := r.state().Silent; silent != time.Minute {
			t.Errorf("silent for %v, want a minute", silent)
		}
		r.asked.Store(0)
		if silent := r.state().Silent; silent != 0 {
			t.Errorf("silent for %v after an answer", silent)
		}
	})
}
