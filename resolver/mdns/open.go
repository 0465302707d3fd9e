package mdns

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

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
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			return nil, fmt.Errorf("parameter %s is there %d times: write it once", name, len(values[name]))
		}
		switch value := values[name][0]; name {
		case "domain":
			opts = append(opts, WithDomain(value))
		case "ttl", "query":
			d, err := time.ParseDuration(value)
			if err != nil {
				return nil, fmt.Errorf("parameter %s is %q: write a duration such as 30s", name, value)
			}
			if name == "ttl" {
				opts = append(opts, WithTTL(d))
				continue
			}
			opts = append(opts, WithQueryInterval(d))
		default:
			return nil, fmt.Errorf("unknown parameter %q: known are domain, query and ttl", name)
		}
	}
	return opts, nil
}
