package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

const password = "s3cret,=ü"

// roundTrip publishes and handles one message, of a topic and a group that are
// no other test's.
func roundTrip(t *testing.T, b pubsub.Broker) {
	t.Helper()
	topic := strings.ReplaceAll(t.Name(), "/", ".")
	if err := b.Publish(t.Context(), message(topic, "k", "1")); err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	m := joined(t, b, topic, topic, l.handle)
	l.await(t, 1)
	m.leave()
}

func startFake(t *testing.T, opts ...kfake.Opt) string {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

func TestSASL(t *testing.T) {
	t.Parallel()
	addr := startFake(t, kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "plain,=", password),
		kfake.Superuser("SCRAM-SHA-256", "small,=", password),
		kfake.Superuser("SCRAM-SHA-512", "large,=", password))
	open := func(t *testing.T, user, password, mechanism, timeout string) pubsub.Broker {
		t.Helper()
		u := url.URL{Scheme: "kafka", User: url.UserPassword(user, password), Host: addr, RawQuery: "auto_create=1&publish_timeout=" + timeout + "&sasl=" + mechanism}
		b, err := pubsub.Open(u.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeBroker(t, b) })
		return b
	}
	for user, mechanism := range map[string]string{"plain,=": "plain", "small,=": "scram-sha-256", "large,=": "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			roundTrip(t, open(t, user, password, mechanism, "30s"))
			err := open(t, user, "wrong", mechanism, "3s").Publish(t.Context(), message("t", "k", "2"))
			checkResults(t, err, pubsub.ErrNotSent)
			if !strings.Contains(fmt.Sprint(err), "SASL") || !strings.Contains(fmt.Sprint(err), addr) || strings.Contains(fmt.Sprint(err), "wrong") {
				t.Errorf("error %q", err)
			}
		})
	}
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t, []string{addr}, kafka.WithPublishTimeout(3*time.Second))
		err := b.Publish(t.Context(), message("t", "k", "2"))
		checkResults(t, err, pubsub.ErrNotSent)
		if !strings.Contains(fmt.Sprint(err), "SASL") {
			t.Errorf("error %q does not name SASL", err)
		}
	})
}

// Kafka itself says what is wrong, and it is an error at once.
func TestRealSASL(t *testing.T) {
	t.Parallel()
	addr := os.Getenv("MICRO_KAFKA_SASL")
	if addr == "" {
		t.Skip("MICRO_KAFKA_SASL is the address of a Kafka with the users of .ci/kafka.sh; the gate has one")
	}
	for user, mechanism := range map[string]string{"plain": "plain", "sha256": "scram-sha-256", "sha512": "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			open := func(password string) pubsub.Broker {
				b, err := pubsub.Open(fmt.Sprintf("kafka://%s:%s@%s?auto_create=1&sasl=%s", user, password, addr, mechanism))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { closeBroker(t, b) })
				return b
			}
			roundTrip(t, open("secret"))

			b := open("wrong")
			err := b.Publish(t.Context(), message("t", "k", "v"))
			checkResults(t, err, pubsub.ErrNotSent)
			subscribed := b.Subscribe(t.Context(), "t", "g", func(context.Context, *pubsub.Delivery) error { return nil })
			for _, err := range []error{err, subscribed} {
				if text := fmt.Sprint(err); !strings.Contains(text, "SASL Authentication") || !strings.Contains(text, addr) || strings.Contains(text, "wrong") || strings.Contains(text, "deadline") {
					t.Errorf("error %q", err)
				}
			}
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, ca := newCertificate(t, dir)
	addr := startFake(t, kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca,
	}))
	files := fmt.Sprintf("&ca=%[1]s/cert.pem&cert=%[1]s/cert.pem&key=%[1]s/key.pem", dir)
	open := func(query string) pubsub.Broker {
		b, err := pubsub.Open("kafka://" + addr + "?auto_create=1" + query)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeBroker(t, b) })
		return b
	}
	roundTrip(t, open("&tls=true"+files))

	for query, want := range map[string]string{
		"&tls=true": "certificate", // nobody knows its authority: that is an error at once
		"&publish_timeout=3s&connect_timeout=3s&tls=false": "TLS or SASL", // spoken to without TLS
	} {
		b := open(query)
		err := b.Publish(t.Context(), message("t", "k", "v"))
		checkResults(t, err, pubsub.ErrNotSent)
		subscribed := b.Subscribe(t.Context(), "t", "g", func(context.Context, *pubsub.Delivery) error { return nil })
		for _, err := range []error{err, subscribed} {
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s: error %q lacks %q", query, err, want)
			}
		}
	}
}

// newCertificate makes a certificate that signs itself, for 127.0.0.1, and
// leaves it in dir.
func newCertificate(t *testing.T, dir string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for name, data := range map[string][]byte{"cert.pem": certPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pair, pool
}
