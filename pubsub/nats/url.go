package nats

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

	natsgo "github.com/nats-io/nats.go"

	"github.com/grpc-micro/micro/pubsub"
)

func init() { pubsub.RegisterScheme("nats", open) }

// open makes a Broker of a URL; doc.go lists the parameters.
func open(u *url.URL) (pubsub.Broker, error) {
	if strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("nats: path %q: the URL has none", u.Path)
	}
	p := parameters{values: u.Query()}
	opts := p.options()
	if u.User != nil {
		if password, ok := u.User.Password(); ok {
			opts = append(opts, WithUser(u.User.Username(), password))
		} else {
			opts = append(opts, WithClientOptions(natsgo.Token(u.User.Username())))
		}
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
	if file := p.text("creds"); file != "" {
		p.readable("creds", file)
		opts = append(opts, WithClientOptions(natsgo.UserCredentials(file)))
	}
	if file := p.text("nkey"); file != "" {
		opt, err := natsgo.NkeyOptionFromSeed(file)
		if err != nil {
			p.failf("nkey=%s: %w", file, err)
		} else {
			opts = append(opts, WithClientOptions(opt))
		}
	}
	p.number("auto_create", func(n int) { opts = append(opts, WithAutoCreate(n)) })
	p.number("replicas", func(n int) { opts = append(opts, WithReplicas(n)) })
	if text := p.text("client_name"); text != "" {
		opts = append(opts, WithClientName(text))
	}
	p.duration("connect_timeout", func(d time.Duration) { opts = append(opts, WithConnectTimeout(d)) })
	p.duration("publish_timeout", func(d time.Duration) { opts = append(opts, WithPublishTimeout(d)) })
	p.duration("session_timeout", func(d time.Duration) { opts = append(opts, WithSessionTimeout(d)) })
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

// readable reports a file that is not there now: nats.go reads it when it
// connects, which would be late.
func (p *parameters) readable(name, file string) {
	if _, err := os.Stat(file); err != nil {
		p.failf("%s: %w", name, err)
	}
}

func (p *parameters) number(name string, set func(int)) {
	text := p.text(name)
	if text == "" {
		return
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		p.failf("%s=%s: give a number", name, text)
		return
	}
	set(n)
}

func (p *parameters) duration(name string, set func(time.Duration)) {
	text := p.text(name)
	if text == "" {
		return
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		p.failf("%s=%s: give a duration, like 10s", name, text)
		return
	}
	set(d)
}

func (p *parameters) text(name string) string {
	p.known = append(p.known, name)
	return p.values.Get(name)
}

func (p *parameters) failf(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("nats: "+format, args...))
}

// end reports what was wrong, and what nobody asked for.
func (p *parameters) end() error {
	slices.Sort(p.known)
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
