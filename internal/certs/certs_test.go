package certs_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grpc-micro/micro/internal/certs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Both sides know each other by what one authority has issued, and not by what
// another one has.
func TestMutual(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	for _, test := range []struct {
		name   string
		client *certs.Authority
		host   string
		ok     bool
	}{
		{"ours", ours, "10.0.0.7", true},
		{"another authority", theirs, "10.0.0.7", false},
		{"another host", ours, "10.0.0.8", false},
	} {
		serverCert, clientCert := issue(t, ours, "10.0.0.7"), issue(t, test.client, "client.test")
		lis, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{serverCert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Pool(), MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() {
			conn, err := lis.Accept()
			if err == nil {
				err = errors.Join(conn.SetDeadline(time.Now().Add(10*time.Second)), conn.(*tls.Conn).HandshakeContext(t.Context()), conn.Close())
			}
			served <- err
		}()
		dialer := &tls.Dialer{Config: &tls.Config{Certificates: []tls.Certificate{clientCert}, RootCAs: ours.Pool(), ServerName: test.host, MinVersion: tls.VersionTLS12}}
		conn, err := dialer.DialContext(t.Context(), "tcp", lis.Addr().String())
		if err == nil {
			err = conn.Close()
		}
		serverErr := <-served
		_ = lis.Close()
		if (err == nil && serverErr == nil) != test.ok {
			t.Errorf("%s: the client says %v, the server %v", test.name, err, serverErr)
		}
	}
}

func newAuthority(t *testing.T) *certs.Authority {
	t.Helper()
	a, err := certs.New()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *certs.Authority, host string) tls.Certificate {
	t.Helper()
	c, err := a.Issue(host)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
