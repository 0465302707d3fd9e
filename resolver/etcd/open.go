package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/grpc-micro/micro/internal/dsn"
	"github.com/grpc-micro/micro/resolver"
)

const (
	// A peer that is dead without having said so is noticed in the sum of these,
	// which is before leases of 15 s end. The first is the least that grpc takes.
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 3 * time.Second

	// connectDelay is the longest between attempts to connect. grpc's own is two
	// minutes, for which every service would stay unknown once etcd is back.
	connectDelay = 3 * time.Second
)

func init() { resolver.RegisterScheme("etcd", open) }

// open makes a registry with a client of its own. With a user it asks etcd for a
// token at once, and fails if it gets none within the timeout.
func open(u *url.URL) (resolver.Registry, error) {
	s, err := parse(u)
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(s.client)
	if err != nil {
		return nil, fmt.Errorf("etcd at %s did not let %q log in within %v: is it running, and reachable from here? %w",
			u.Host, s.client.Username, s.client.DialTimeout, s.login.explain(err))
	}
	r, err := New(client, s.registry...)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	r.closer = client.Close
	return r, nil
}

// settings are what a URL says.
type settings struct {
	client   clientv3.Config
	login    *lastAttempt // of client
	registry []Option
}

func parse(u *url.URL) (*settings, error) {
	login := &lastAttempt{}
	s := &settings{login: login, client: clientv3.Config{
		Context:              login.in(context.Background()),
		DialTimeout:          defaultTimeout,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: connectDelay},
			MinConnectTimeout: defaultTimeout,
		}), grpc.WithChainUnaryInterceptor(noteAttempts)},
		Logger: zap.NewNop(), // what matters comes back as an error
	}}
	var err error
	if s.client.Endpoints, err = hosts(u.Host); err != nil {
		return nil, err
	}
	if u.Fragment != "" {
		return nil, fmt.Errorf("#%s: a registry has no fragment", u.Fragment)
	}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		s.registry = append(s.registry, WithPrefix(prefix))
	}
	if u.User != nil {
		s.client.Username = u.User.Username()
		s.client.Password, _ = u.User.Password()
		if s.client.Username == "" || s.client.Password == "" {
			return nil, errors.New("write user:password@, or neither")
		}
	}
	p := dsn.NewParams("etcd", u)
	p.Duration("ttl", func(d time.Duration) { s.registry = append(s.registry, WithTTL(d)) })
	p.Duration("timeout", func(d time.Duration) {
		s.registry = append(s.registry, WithTimeout(d))
		s.client.DialTimeout = d
	})
	s.client.TLS = p.TLS()
	if name := p.Text("server-name"); name != "" { // which grpc takes from its authority, and etcd's client from the address
		s.client.DialOptions = append(s.client.DialOptions, grpc.WithAuthority(name))
	}
	return s, p.End()
}

// hosts takes the list apart that a URL has as one host.
func hosts(list string) ([]string, error) {
	endpoints := strings.Split(list, ",")
	for i, host := range endpoints {
		if host == "" || host[0] == ':' {
			return nil, fmt.Errorf("%q has an empty host: write etcd://host:port, several with commas in between", list)
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			endpoints[i] = net.JoinHostPort(strings.Trim(host, "[]"), "2379")
		}
	}
	return endpoints, nil
}
