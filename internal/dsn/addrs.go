package dsn

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Addrs checks the addresses of a cluster's servers, and adds the port where
// there is none.
func Addrs(pkg, port string, addrs []string) ([]string, error) {
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s: no address: give one server or more, as host:port", pkg)
	}
	addrs = slices.Clone(addrs)
	for i, addr := range addrs {
		host, own, err := net.SplitHostPort(addr)
		if err != nil { // without a port
			host, own = addr, port
			addrs[i] = net.JoinHostPort(host, port)
		}
		_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", own)
		if err != nil || host == "" || strings.ContainsAny(addr, "/@, ") {
			return nil, fmt.Errorf("%s: address %q: give host:port", pkg, addr)
		}
	}
	return addrs, nil
}
