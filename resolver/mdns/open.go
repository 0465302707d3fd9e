package mdns

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/grpc-micro/micro/internal/dsn"
	"github.com/grpc-micro/micro/resolver"
)

func init() { resolver.RegisterScheme("mdns", open) }

func open(u *url.URL) (resolver.Registry, error) {
	opts, err := parse(u)
	if err != nil {
		return nil, err
	}
	return New(opts...)
}

// parse returns what a URL says: mdns://eth0,wlan0?domain=local&ttl=30s&query=10s.
func parse(u *url.URL) ([]Option, error) {
	if u.Opaque != "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("write mdns://, or mdns://eth0 for one network interface, and parameters such as ?ttl=30s")
	}
	var opts []Option
	if u.Host != "" {
		names := strings.Split(u.Host, ",")
		if slices.Contains(names, "") {
			return nil, fmt.Errorf("%q has an empty name of a network interface: write mdns://eth0, several with commas in between", u.Host)
		}
		opts = append(opts, WithInterfaces(names...))
	}
	p := dsn.NewParams("mdns", u)
	if domain := p.Text("domain"); domain != "" {
		opts = append(opts, WithDomain(domain))
	}
	p.Duration("ttl", func(d time.Duration) { opts = append(opts, WithTTL(d)) })
	p.Duration("query", func(d time.Duration) { opts = append(opts, WithQueryInterval(d)) })
	return opts, p.End()
}
