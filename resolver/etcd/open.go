package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

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
	tls      map[string]string // what tls=true goes with, by parameter
}

func parse(u *url.URL) (*settings, error) {
	login := &lastAttempt{}
	s := &settings{tls: make(map[string]string), login: login, client: clientv3.Config{
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
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	secure := false
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			return nil, fmt.Errorf("parameter %s is there %d times: write it once", name, len(values[name]))
		}
		switch value := values[name][0]; name {
		case "ttl", "timeout":
			d, err := time.ParseDuration(value)
			if err != nil || d <= 0 {
				return nil, fmt.Errorf("parameter %s is %q: write a duration such as 15s", name, value)
			}
			if name == "ttl" {
				s.registry = append(s.registry, WithTTL(d))
				continue
			}
			s.registry = append(s.registry, WithTimeout(d))
			s.client.DialTimeout = d
		case "tls":
			if value != "true" {
				return nil, fmt.Errorf("parameter tls is %q: write tls=true, or leave it out", value)
			}
			secure = true
		case "ca", "cert", "key", "server-name":
			s.tls[name] = value
		default:
			return nil, fmt.Errorf("unknown parameter %q: known are ca, cert, key, server-name, timeout, tls and ttl", name)
		}
	}
	switch {
	case secure:
		s.client.TLS, err = tlsConfig(s.tls)
		if name := s.tls["server-name"]; name != "" { // which grpc takes from its authority, and etcd's client from the address
			s.client.DialOptions = append(s.client.DialOptions, grpc.WithAuthority(name))
		}
	case len(s.tls) > 0:
		err = errors.New("parameters ca, cert, key and server-name go with tls=true")
	}
	return s, err
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

func tlsConfig(files map[string]string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: files["server-name"]}
	if file := files["ca"]; file != "" {
		pem, err := os.ReadFile(file) //nolint:gosec // whoever writes the URL chooses the file
		if err != nil {
			return nil, fmt.Errorf("parameter ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("parameter ca: there is no certificate in %s", file)
		}
	}
	if (files["cert"] == "") != (files["key"] == "") {
		return nil, errors.New("parameters cert and key go together")
	}
	if files["cert"] != "" {
		cert, err := tls.LoadX509KeyPair(files["cert"], files["key"])
		if err != nil {
			return nil, fmt.Errorf("parameters cert and key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}
