package inbox_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/certs"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/inbox"
)

func TestInvalid(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	for want, opts := range map[string][]inbox.Option{
		"no credentials: use WithTLS, or WithInsecure": {},
		"nil Option":                           {nil},
		`address "here": give host:port`:       {inbox.WithAddress("here")},
		`address ":7070": publishers cannot`:   {inbox.WithInsecure(), inbox.WithAddress(":7070")},
		`advertised address "0.0.0.0:1": give`: {inbox.WithInsecure(), inbox.WithAdvertise("0.0.0.0:1")},
		"retention of 0":                       {inbox.WithInsecure(), inbox.WithRetention(0)},
		"publish timeout 0s":                   {inbox.WithInsecure(), inbox.WithPublishTimeout(0)},
		"nil logger":                           {inbox.WithInsecure(), inbox.WithLogger(nil)},
	} {
		if _, err := inbox.New(reg, opts...); err == nil || !strings.HasPrefix(err.Error(), "inbox: "+want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
	if _, err := inbox.New(nil, inbox.WithInsecure()); err == nil || !strings.Contains(err.Error(), "nil registry") {
		t.Errorf("got error %v", err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	b := newBroker(t, reg, inbox.WithAddress(lis.Addr().String()))
	err = b.Subscribe(t.Context(), "t", "g", func(context.Context, *pubsub.Delivery) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "inbox: listen at "+lis.Addr().String()) {
		t.Errorf("Subscribe at an address in use returned %v", err)
	}
}

// What could never be delivered is rejected, before it stands in the way.
func TestPublishInvalid(t *testing.T) {
	t.Parallel()
	b := newBroker(t, newRegistry(t))
	for name, bad := range map[string]*pubsub.Message{
		"ID":     {Topic: "t", ID: "\xff"},
		"header": {Topic: "t", Header: pubsub.Header{{Key: "\xff"}}},
		"size":   {Topic: "t", Value: make([]byte, 5<<20)},
		"time":   {Topic: "t", Time: time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		err := b.Publish(t.Context(), &pubsub.Message{Topic: "t"}, bad)
		failure, ok := errors.AsType[*pubsub.PublishError](err)
		if !ok || !errors.Is(failure.Results[0], pubsub.ErrNotSent) || !errors.Is(failure.Results[1], pubsub.ErrRejected) {
			t.Errorf("%s: Publish returned %v", name, err)
		}
	}
}

// A key goes to the same member each time.
func TestSameMember(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	one, two := newRecord(), newRecord()
	subscribe(t, newBroker(t, reg), "t", "g", one.handle)
	subscribe(t, newBroker(t, reg), "t", "g", two.handle)
	for range 2 { // publishers agree
		publisher := newBroker(t, reg)
		for key := range 32 {
			publish(t, publisher, fmt.Sprint("k", key), 0, 5)
		}
		closeBroker(t, publisher)
	}
	if one.count() == 0 || two.count() == 0 || one.count()+two.count() != 320 {
		t.Errorf("the members got %d and %d of 320 events", one.count(), two.count())
	}
	for key := range 32 {
		if a, b := len(one.of(fmt.Sprint("k", key))), len(two.of(fmt.Sprint("k", key))); a*b != 0 {
			t.Errorf("of key %d the members got %d and %d events", key, a, b)
		}
	}
}

// A handler may publish what it will handle itself later, with the key that it is
// handling.
func TestHandlerPublishes(t *testing.T) {
	t.Parallel()
	b := newBroker(t, newRegistry(t))
	r := newRecord()
	subscribe(t, b, "t", "g", func(ctx context.Context, d *pubsub.Delivery) error {
		if v := string(d.Value); len(v) < 5 {
			if err := b.Publish(ctx, message("k", v+"x")); err != nil {
				return err
			}
		}
		return r.handle(ctx, d)
	}, pubsub.WithConcurrency(1))
	if err := b.Publish(t.Context(), message("k", "x")); err != nil {
		t.Fatal(err)
	}
	r.await(t, "the chain of events", func() bool { return r.count() == 5 })
}

// With mutual TLS only who has a certificate can hand out events.
func TestTLS(t *testing.T) {
	t.Parallel()
	authority, err := certs.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool(), MinVersion: tls.VersionTLS12}
	client := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: authority.Pool(), MinVersion: tls.VersionTLS12}
	nameless := &tls.Config{RootCAs: authority.Pool(), MinVersion: tls.VersionTLS12}
	reg := newRegistry(t)
	r := newRecord()
	subscribe(t, newBroker(t, reg, inbox.WithTLS(server, client)), "t", "g", r.handle)
	publish(t, newBroker(t, reg, inbox.WithTLS(server, client)), "good", 0, 3)
	r.await(t, "events with a certificate", func() bool { return r.count() == 3 })
	for name, opt := range map[string]inbox.Option{"no certificate": inbox.WithTLS(server, nameless), "no TLS": inbox.WithInsecure()} {
		b, err := inbox.New(reg, opt, inbox.WithLogger(quiet))
		if err != nil {
			t.Fatal(err)
		}
		publish(t, b, name, 0, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := b.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 events were not handled yet") {
			t.Errorf("%s: Close returned %v", name, err)
		}
		cancel()
		if got := r.of(name); len(got) > 0 {
			t.Errorf("%s: handled %q", name, got)
		}
	}
}
