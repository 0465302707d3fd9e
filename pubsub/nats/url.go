package nats

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/grpc-micro/micro/internal/dsn"
	"github.com/grpc-micro/micro/pubsub"
)

func init() { pubsub.RegisterScheme("nats", open) }

// open makes a Broker of a URL; doc.go lists the parameters.
func open(u *url.URL) (pubsub.Broker, error) {
	if strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("nats: path %q: the URL has none", u.Path)
	}
	p := dsn.NewParams("nats", u)
	opts := optionsOf(p)
	if u.User != nil {
		if password, ok := u.User.Password(); ok {
			opts = append(opts, WithUser(u.User.Username(), password))
		} else {
			opts = append(opts, WithClientOptions(natsgo.Token(u.User.Username())))
		}
	}
	if err := p.End(); err != nil {
		return nil, err
	}
	return New(strings.Split(u.Host, ","), opts...)
}

func optionsOf(p *dsn.Params) (opts []Option) {
	if c := p.TLS(); c != nil {
		opts = append(opts, WithTLS(c))
	}
	// nats.go reads it when it connects, which would be late to report it.
	p.File("creds", func(file string) { opts = append(opts, WithClientOptions(natsgo.UserCredentials(file))) })
	if file := p.Text("nkey"); file != "" {
		opt, err := natsgo.NkeyOptionFromSeed(file)
		if err != nil {
			p.Failf("nkey=%s: %w", file, err)
		} else {
			opts = append(opts, WithClientOptions(opt))
		}
	}
	p.Number("auto_create", func(n int) { opts = append(opts, WithAutoCreate(n)) })
	p.Number("replicas", func(n int) { opts = append(opts, WithReplicas(n)) })
	if text := p.Text("client_name"); text != "" {
		opts = append(opts, WithClientName(text))
	}
	p.Duration("connect_timeout", func(d time.Duration) { opts = append(opts, WithConnectTimeout(d)) })
	p.Duration("publish_timeout", func(d time.Duration) { opts = append(opts, WithPublishTimeout(d)) })
	p.Duration("session_timeout", func(d time.Duration) { opts = append(opts, WithSessionTimeout(d)) })
	return opts
}
