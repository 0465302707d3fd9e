package dsn

import (
	"crypto/tls"
	"crypto/x509"
	"os"
)

// TLS returns what tls=true asks for, with ca, cert, key and server-name beside
// it; nil without TLS.
func (p *Params) TLS() *tls.Config {
	on := false
	switch text := p.Text("tls"); text {
	case "true":
		on = true
	case "", "false":
	default:
		p.Failf("tls=%s: give true or false", text)
	}
	ca, cert, key, name := p.Text("ca"), p.Text("cert"), p.Text("key"), p.Text("server-name")
	if !on {
		if ca != "" || cert != "" || key != "" || name != "" {
			p.Failf("ca, cert, key and server-name need tls=true")
		}
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	if ca != "" {
		pem, err := os.ReadFile(ca) //nolint:gosec // the operator names the file
		c.RootCAs = x509.NewCertPool()
		if err != nil {
			p.Failf("ca: %w", err)
		} else if !c.RootCAs.AppendCertsFromPEM(pem) {
			p.Failf("ca=%s: there is no PEM certificate in it", ca)
		}
	}
	switch {
	case cert == "" && key == "":
	case cert == "" || key == "":
		p.Failf("cert and key go together")
	default:
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			p.Failf("cert=%s, key=%s: %w", cert, key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}
