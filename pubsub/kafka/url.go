package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

func init() { pubsub.RegisterScheme("kafka", open) }

// open makes a Broker of a URL; doc.go lists the parameters.
func open(u *url.URL) (pubsub.Broker, error) {
	if strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("kafka: path %q: the URL has none", u.Path)
	}
	p := parameters{values: u.Query()}
	opts := p.options()
	if u.User != nil {
		password, _ := u.User.Password()
		mechanism := p.text("sasl")
		if mechanism == "" {
			return nil, errors.New("kafka: a user without sasl: add sasl=plain, sasl=scram-sha-256 or sasl=scram-sha-512")
		}
		opts = append(opts, WithSASL(mechanism, u.User.Username(), password))
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return New(strings.Split(u.Host, ","), opts...)
}

// parameters takes the parameters of a URL one by one, and keeps what is wrong.
type parameters struct {
	values url.Values
	known  []string
	errs   []error
}

func (p *parameters) options() (opts []Option) {
	if c := p.tls(); c != nil {
		opts = append(opts, WithTLS(c))
	}
	if text := p.text("auto_create"); text != "" {
		opts = append(opts, WithAutoCreate(p.number("auto_create"), p.number("replication")))
	}
	if text := p.text("compression"); text != "" {
		opts = append(opts, WithCompression(text))
	}
	if text := p.text("client_id"); text != "" {
		opts = append(opts, WithClientID(text))
	}
	for name, option := range map[string]func(time.Duration) Option{
		"connect_timeout": WithConnectTimeout,
		"publish_timeout": WithPublishTimeout,
		"session_timeout": WithSessionTimeout,
	} {
		if text := p.text(name); text != "" {
			d, err := time.ParseDuration(text)
			if err != nil {
				p.failf("%s=%s: give a duration, like 10s", name, text)
			}
			opts = append(opts, option(d))
		}
	}
	return opts
}

// tls is nil without TLS.
func (p *parameters) tls() *tls.Config {
	on := false
	switch text := p.text("tls"); text {
	case "true":
		on = true
	case "", "false":
	default:
		p.failf("tls=%s: give true or false", text)
	}
	ca, cert, key := p.text("ca"), p.text("cert"), p.text("key")
	if !on {
		if ca != "" || cert != "" || key != "" {
			p.failf("ca, cert and key need tls=true")
		}
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca) //nolint:gosec // the operator names the file
		c.RootCAs = x509.NewCertPool()
		if err != nil {
			p.failf("ca: %w", err)
		} else if !c.RootCAs.AppendCertsFromPEM(pem) {
			p.failf("ca=%s: there is no PEM certificate in it", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			p.failf("cert=%s, key=%s: %w", cert, key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

func (p *parameters) number(name string) int {
	text := p.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		p.failf("%s=%s: give a number", name, text)
	}
	return n
}

func (p *parameters) text(name string) string {
	p.known = append(p.known, name)
	return p.values.Get(name)
}

func (p *parameters) failf(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("kafka: "+format, args...))
}

// end reports what was wrong, and what nobody asked for.
func (p *parameters) end() error {
	for _, name := range []string{"sasl", "replication"} {
		if p.values.Has(name) && !slices.Contains(p.known, name) {
			p.failf("%s needs %s", name, map[string]string{"sasl": "a user and a password: kafka://user:password@…", "replication": "auto_create"}[name])
		}
		p.known = append(p.known, name)
	}
	slices.Sort(p.known)
	p.known = slices.Compact(p.known)
	for name, values := range p.values {
		switch {
		case !slices.Contains(p.known, name):
			p.failf("unknown parameter %q: known are %s", name, strings.Join(p.known, ", "))
		case len(values) > 1:
			p.failf("parameter %q is given %d times", name, len(values))
		}
	}
	return errors.Join(p.errs...)
}
