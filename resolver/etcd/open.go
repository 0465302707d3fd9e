package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/grpc-micro/micro/resolver"
)

const (
	dialTimeout      = 5 * time.Second
	keepAliveTime    = 10 * time.Second // a peer that is dead without having said so is noticed in this and
	keepAliveTimeout = 5 * time.Second  // this
)

func init() { resolver.RegisterScheme("etcd", open) }

// open reads etcd://user:password@h1:2379,h2:2379/prefix with the parameters
// ttl (a duration), tls (true), ca, cert, key (files) and server-name. With a
// user it asks etcd for a token at once, and fails within 5 s if it gets none.
func open(u *url.URL) (resolver.Registry, error) {
	cfg := clientv3.Config{
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		Logger:               zap.NewNop(), // what matters comes back as an error
	}
	var opts []Option
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		opts = append(opts, WithPrefix(prefix))
	}
	var err error
	if cfg.Endpoints, err = hosts(u.Host); err != nil {
		return nil, err
	}
	if u.User != nil {
		cfg.Username = u.User.Username()
		cfg.Password, _ = u.User.Password()
	}
	files := map[string]string{}
	secure := false
	for name, values := range u.Query() {
		value := values[len(values)-1]
		switch name {
		case "ttl":
			ttl, err := time.ParseDuration(value)
			if err != nil {
				return nil, fmt.Errorf("parameter ttl: write a duration such as 15s: %w", err)
			}
			opts = append(opts, WithTTL(ttl))
		case "tls":
			if value != "true" {
				return nil, fmt.Errorf("parameter tls is %q: write tls=true, or leave it out", value)
			}
			secure = true
		case "ca", "cert", "key", "server-name":
			files[name] = value
		default:
			return nil, fmt.Errorf("unknown parameter %q: known are ttl, tls, ca, cert, key and server-name", name)
		}
	}
	if !secure && len(files) > 0 {
		return nil, errors.New("ca, cert, key and server-name go with tls=true")
	}
	if secure {
		if cfg.TLS, err = tlsConfig(files); err != nil {
			return nil, err
		}
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", u.Host, err)
	}
	r, err := New(client, opts...)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	r.closer = client.Close
	return r, nil
}

// hosts takes the list apart that a URL has as one host.
func hosts(list string) ([]string, error) {
	endpoints := strings.Split(list, ",")
	for i, host := range endpoints {
		if host == "" {
			return nil, errors.New("write etcd://host:port, several with commas in between")
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
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("parameter ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("parameter ca: there is no certificate in %s", file)
		}
	}
	if (files["cert"] == "") != (files["key"] == "") {
		return nil, errors.New("cert and key go together")
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
