package nats_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/grpc-micro/micro/internal/certs"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/nats"
)

func TestOpenInvalid(t *testing.T) {
	t.Parallel()
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"nats://":                                    "give host:port",
		"nats://h:0x":                                "invalid port",
		"nats://h,":                                  `address "": give host:port`,
		"nats://h/orders":                            `path "/orders": the URL has none`,
		"nats://h?partitions=3":                      `unknown parameter "partitions": known are auto_create, `,
		"nats://h?auto_create=x":                     "auto_create=x: give a number",
		"nats://h?auto_create=0":                     "auto create with 0 partitions: give 1 to 1024",
		"nats://h?replicas=9":                        "9 replicas: JetStream has 1 to 5",
		"nats://h?connect_timeout=1":                 "connect_timeout=1: give a duration, like 10s",
		"nats://h?publish_timeout=-1s":               "publish timeout -1s: it must be above 0",
		"nats://h?session_timeout=1h":                "session timeout 1h0m0s: give 500ms to 1m0s",
		"nats://h?tls=yes":                           "tls=yes: give true or false",
		"nats://h?ca=x":                              "need tls=true",
		"nats://h?tls=true&ca=" + garbage:            "there is no PEM certificate in it",
		"nats://h?creds=/does/not/exist":             "creds: stat /does/not/exist",
		"nats://h?nkey=" + garbage:                   "nkey=" + garbage,
		"nats://h?client_name=a&client_name=b":       `parameter "client_name" is given 2 times`,
		"nats://user:geheim@h?tls=true&ca=/no/where": "ca: open /no/where",
	} {
		_, err := pubsub.Open(url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: got error %v, want one with %q", url, err, want)
		}
	}
	for what, opt := range map[string]nats.Option{"nil Option": nil, "nil logger": nats.WithLogger(nil), "nil client option": nats.WithClientOptions(nil)} {
		if _, err := nats.New([]string{"h"}, opt); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: got error %v", what, err)
		}
	}
	if _, err := nats.New(nil); err == nil || !strings.Contains(err.Error(), "no address") {
		t.Errorf("no address: got error %v", err)
	}
}

func TestServerAway(t *testing.T) {
	t.Parallel()
	const addr = "127.0.0.1:1" // nobody is there: no system gives that port to who asks for any
	b, err := nats.New([]string{addr}, nats.WithLogger(quiet), nats.WithConnectTimeout(200*time.Millisecond), nats.WithPublishTimeout(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	err = b.Publish(t.Context(), &pubsub.Message{ID: "7", Topic: "orders"})
	if !errors.Is(err, pubsub.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish returned %v", err)
	}
	for _, part := range []string{"message 7 to orders", addr, "publish timeout of 200ms", "check the address, and that NATS runs there"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error of Publish does not say %q: %v", part, err)
		}
	}
	err = b.Subscribe(t.Context(), "orders", "mailer", func(context.Context, *pubsub.Delivery) error { return nil })
	for _, part := range []string{"nats: subscribe orders", addr, "connect timeout of 200ms", "check the address"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error of Subscribe does not say %q: %v", part, err)
		}
	}
}

func TestSecurity(t *testing.T) {
	t.Parallel()
	authority, err := certs.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	withUser := startServer(t, listen, func(o *server.Options) { o.Username, o.Password = "ann", "s3cret" })
	withToken := startServer(t, listen, func(o *server.Options) { o.Authorization = "t0ken" })
	withTLS := startServer(t, listen, func(o *server.Options) {
		o.TLS, o.TLSTimeout = true, 5
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	})
	open := func(srv *server.Server, user, query string) pubsub.Broker {
		b, err := pubsub.Open("nats://" + user + srv.Addr().String() + "?auto_create=2&" + query)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeBroker(t, b) })
		return b
	}
	for name, b := range map[string]pubsub.Broker{
		"user":  open(withUser, "ann:s3cret@", ""),
		"token": open(withToken, "t0ken@", ""),
		"TLS":   open(withTLS, "", "tls=true&ca="+ca),
	} {
		if err := b.Publish(t.Context(), &pubsub.Message{Topic: "t"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, test := range map[string]struct {
		b    pubsub.Broker
		want string
	}{
		"wrong password":    {open(withUser, "ann:wrong@", ""), "check the user and the password"},
		"no user":           {open(withUser, "", ""), "check the user and the password"},
		"wrong token":       {open(withToken, "wrong@", ""), "check the user and the password"},
		"unknown authority": {open(withTLS, "", "tls=true"), "check the certificate, or give its authority"},
		"no TLS there":      {open(withUser, "ann:s3cret@", "tls=true"), "the server has no TLS"},
	} {
		began := time.Now()
		err := test.b.Publish(t.Context(), &pubsub.Message{Topic: "t"})
		if !errors.Is(err, pubsub.ErrNotSent) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Publish returned %v, want %q", name, err, test.want)
		}
		err = test.b.Subscribe(t.Context(), "t", "g", func(context.Context, *pubsub.Delivery) error { return nil })
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Subscribe returned %v, want %q", name, err, test.want)
		}
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("%s: it took %v to find out", name, took)
		}
	}
}

// A topic that cannot be one says why, and what to do.
func TestTopicInvalid(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	js := client(t, srv)
	for _, c := range []jetstream.StreamConfig{
		{Name: "NO-METADATA", Subjects: []string{"no-metadata.*"}},
		{Name: "BAD-METADATA", Subjects: []string{"bad-metadata.*"}, Metadata: map[string]string{"micro-partitions": "many"}},
		{Name: "QUEUE", Subjects: []string{"queue.*"}, Metadata: map[string]string{"micro-partitions": "2"}, Retention: jetstream.WorkQueuePolicy},
	} {
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	b, err := nats.New([]string{"in-process"}, nats.WithClientOptions(natsgo.InProcessServer(srv)), nats.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	for topic, want := range map[string]string{
		"unknown":      "topic unknown has no stream: create one of the subject unknown.* with the metadata micro-partitions=N",
		"a..b":         "topic a..b is no subject",
		"a.":           "topic a. is no subject",
		"no-metadata":  "stream NO-METADATA does not say how many partitions it has",
		"bad-metadata": "stream BAD-METADATA does not say how many partitions it has",
		"queue":        "groups need a log: create it with retention limits",
	} {
		err := b.Publish(t.Context(), &pubsub.Message{Topic: topic})
		if !errors.Is(err, pubsub.ErrRejected) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Publish returned %v, want %q", topic, err, want)
		}
		err = b.Subscribe(t.Context(), topic, "g", func(context.Context, *pubsub.Delivery) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Subscribe returned %v, want %q", topic, err, want)
		}
	}
}

// A stream that an operator has made, by the name that he likes, is a topic; a
// dead-letter topic has to be there, too, before the first dead letter.
func TestOperatorsStream(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	js := client(t, srv)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "ORDERS", Subjects: []string{"shop.orders.*"}, Metadata: map[string]string{"micro-partitions": "3"},
	}); err != nil {
		t.Fatal(err)
	}
	b, err := nats.New([]string{"in-process"}, nats.WithClientOptions(natsgo.InProcessServer(srv)), nats.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	err = b.Subscribe(t.Context(), "shop.orders", "g", func(context.Context, *pubsub.Delivery) error { return nil }, pubsub.WithDeadLetter())
	if err == nil || !strings.Contains(err.Error(), "dead letters: topic shop.orders.g.dead has no stream") {
		t.Errorf("Subscribe without a stream for dead letters returned %v", err)
	}
	for i := range 20 {
		if err := b.Publish(t.Context(), &pubsub.Message{Topic: "shop.orders", Key: fmt.Append(nil, i%4), Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	at := make(map[string]int)
	if err := b.Subscribe(t.Context(), "shop.orders", "g", func(_ context.Context, d *pubsub.Delivery) error {
		if p, ok := at[string(d.Key)]; ok && p != d.Partition {
			t.Errorf("key %s is in partitions %d and %d", d.Key, p, d.Partition)
		}
		at[string(d.Key)] = d.Partition
		return nil
	}, pubsub.WithConcurrency(1), pubsub.WithLimit(20)); err != nil {
		t.Error(err)
	}
	if len(at) != 4 {
		t.Errorf("keys are at %v", at)
	}
}

// Declared topics become streams as declared, and what differs is named.
func TestEnsureTopics(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	dev := newBroker(t, srv)
	production, err := nats.New([]string{"in-process"}, nats.WithClientOptions(natsgo.InProcessServer(srv)), nats.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, production) })
	spec := pubsub.TopicSpec{Name: "shop.orders", Partitions: 3, Replication: 1, Config: map[string]string{
		"retention.ms": "3600000", "retention.bytes": "-1", "max.message.bytes": "1000",
	}}
	err = pubsub.EnsureTopics(t.Context(), production, spec, pubsub.TopicSpec{Name: "other"})
	for _, part := range []string{"topic shop.orders has no stream", "topic other has no stream"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("in production EnsureTopics returned %v, want %q", err, part)
		}
	}
	if err := pubsub.EnsureTopics(t.Context(), dev, spec); err != nil {
		t.Fatal(err)
	}
	if err := pubsub.EnsureTopics(t.Context(), production, spec); err != nil {
		t.Errorf("as declared: %v", err)
	}
	stream, err := client(t, srv).Stream(t.Context(), "shop=orders")
	if err != nil {
		t.Fatal(err)
	}
	if c := stream.CachedInfo().Config; c.MaxAge != time.Hour || c.MaxBytes != -1 || c.MaxMsgSize != 1000 || c.Metadata["micro-partitions"] != "3" {
		t.Errorf("the stream is %+v", c)
	}
	for want, config := range map[string]map[string]string{
		"retention.ms is 3600000, and 1000 is declared":             {"retention.ms": "1000"},
		"a stream has no config cleanup.policy: it has max.message": {"cleanup.policy": "compact"},
		`config retention.ms="week": give a number above 0`:         {"retention.ms": "week"},
	} {
		err := pubsub.EnsureTopics(t.Context(), dev, pubsub.TopicSpec{Name: "shop.orders", Config: config})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("EnsureTopics returned %v, want %q", err, want)
		}
	}
	err = pubsub.EnsureTopics(t.Context(), production, pubsub.TopicSpec{Name: "shop.orders", Partitions: 4, Replication: 3})
	if err == nil || !strings.Contains(err.Error(), "it has 3 partitions, and 4 are declared; it has 1 replicas, and 3 are declared") {
		t.Errorf("EnsureTopics returned %v", err)
	}
	err = production.Publish(t.Context(), &pubsub.Message{Topic: "shop.orders", Value: make([]byte, 2000)})
	if !errors.Is(err, pubsub.ErrRejected) || !strings.Contains(err.Error(), "message size exceeds maximum") {
		t.Errorf("Publish of too much returned %v", err)
	}
}

// JetStream tells a message that was sent before by its source and ID.
func TestDeduplication(t *testing.T) {
	t.Parallel()
	addrs, topic := anywhere(t)
	b := openBroker(t, addrs)
	m := func(source, id string) *pubsub.Message {
		return &pubsub.Message{Source: source, ID: id, Topic: topic, Value: []byte(source + id)}
	}
	for _, m := range []*pubsub.Message{m("a", "1"), m("a", "1"), m("b", "1"), m("a", "2"), m("a", "1")} {
		if err := b.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	if err := b.Subscribe(t.Context(), topic, "g", func(_ context.Context, d *pubsub.Delivery) error {
		got = append(got, string(d.Value))
		if string(d.Value) == "a2" && len(got) < 3 {
			return errors.New("wait for the others")
		}
		return nil
	}, pubsub.WithConcurrency(1), pubsub.WithLimit(3), pubsub.WithSubscribeLogger(quiet), pubsub.WithRetry(pubsub.RetryPolicy{InitialBackoff: time.Millisecond})); err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for _, v := range got {
		counts[v]++
	}
	if counts["a1"] != 1 || counts["b1"] != 1 || counts["a2"] == 0 {
		t.Errorf("handled %q", got)
	}
}

// A message that is too large is rejected, and says so; what waits behind it
// with its key is not sent, and another key is.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	addrs, topic := anywhere(t)
	b := openBroker(t, addrs)
	k, other := []byte("k"), []byte("other")
	err := b.Publish(t.Context(),
		&pubsub.Message{Topic: topic, Key: k, Value: []byte("1")},
		&pubsub.Message{Topic: topic, Key: k, Value: make([]byte, 2<<20)},
		&pubsub.Message{Topic: topic, Key: other, Value: []byte("2")},
		&pubsub.Message{Topic: topic, Key: k, Value: []byte("3")})
	failure, ok := errors.AsType[*pubsub.PublishError](err)
	if !ok {
		t.Fatalf("Publish returned %v", err)
	}
	r := failure.Results
	if r[0] != nil || r[2] != nil || !errors.Is(r[1], pubsub.ErrRejected) || !strings.Contains(r[1].Error(), "raise max_payload") || !errors.Is(r[3], pubsub.ErrNotSent) {
		t.Errorf("results %v", r)
	}
}

// client returns a plain client of the server.
func client(t testing.TB, srv *server.Server) jetstream.JetStream {
	t.Helper()
	nc, err := natsgo.Connect("", natsgo.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
