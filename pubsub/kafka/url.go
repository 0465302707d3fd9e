package kafka

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/grpc-micro/micro/internal/dsn"
	"github.com/grpc-micro/micro/pubsub"
)

func init() { pubsub.RegisterScheme("kafka", open) }

// open makes a Broker of a URL; doc.go lists the parameters.
func open(u *url.URL) (pubsub.Broker, error) {
	if strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("kafka: path %q: the URL has none", u.Path)
	}
	p := dsn.NewParams("kafka", u)
	opts := optionsOf(p)
	if u.User == nil {
		p.Needs("sasl", "a user and a password: kafka://user:password@…")
	} else {
		password, _ := u.User.Password()
		mechanism := p.Text("sasl")
		if mechanism == "" {
			return nil, errors.New("kafka: a user without sasl: add sasl=plain, sasl=scram-sha-256 or sasl=scram-sha-512")
		}
		opts = append(opts, WithSASL(mechanism, u.User.Username(), password))
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
	if p.Text("auto_create") == "" {
		p.Needs("replication", "auto_create")
	} else {
		partitions, replication := 0, 0
		p.Number("auto_create", func(n int) { partitions = n })
		p.Number("replication", func(n int) { replication = n })
		opts = append(opts, WithAutoCreate(partitions, replication))
	}
	if text := p.Text("compression"); text != "" {
		opts = append(opts, WithCompression(text))
	}
	if text := p.Text("client_id"); text != "" {
		opts = append(opts, WithClientID(text))
	}
	p.Duration("connect_timeout", func(d time.Duration) { opts = append(opts, WithConnectTimeout(d)) })
	p.Duration("publish_timeout", func(d time.Duration) { opts = append(opts, WithPublishTimeout(d)) })
	p.Duration("session_timeout", func(d time.Duration) { opts = append(opts, WithSessionTimeout(d)) })
	return opts
}
