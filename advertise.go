package micro

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// routeTimeout bounds the look-up of a registry's host name.
const routeTimeout = 2 * time.Second

// advertised returns the addresses to announce for a listener. registry holds
// the addresses of the registry's servers, none where it has no servers.
//
// An address that clients cannot reach is refused here, at the start, and not
// found out later as "connection refused" on another host.
func advertised(ctx context.Context, explicit []string, lis net.Addr, registry []string) ([]string, error) {
	addrs, err := completed(explicit, lis)
	if err != nil {
		return nil, err
	}
	route, routeErr := routeTo(ctx, registry)
	if len(addrs) == 0 {
		addr, err := listened(lis, route)
		if err != nil {
			return nil, err
		}
		if addr == "" {
			return nil, routeErr
		}
		addrs = []string{addr}
	}
	for _, addr := range addrs {
		if routeErr == nil && !route.IsLoopback() && onlyHere(addr) {
			return nil, fmt.Errorf("micro: no other host reaches %s, while the registry is at %s: listen on another address (WithAddress) or say where clients reach this service (WithAdvertise)", addr, strings.Join(registry, ","))
		}
	}
	return addrs, nil
}

// listened returns the listener's own address with route in the place of an
// unspecified IP, or "" where that would be needed and is not known.
func listened(lis net.Addr, route netip.Addr) (string, error) {
	if lis.Network() == "unix" {
		return "unix://" + lis.String(), nil
	}
	addr, err := netip.ParseAddrPort(lis.String())
	if err != nil { // a listener of the user's own kind, such as bufconn
		return "", fmt.Errorf("micro: the listener's address %q is no host:port that could be announced: say with WithAdvertise where clients reach it", lis)
	}
	ip := addr.Addr()
	if ip.IsUnspecified() {
		ip = route
	}
	if !ip.IsValid() {
		return "", nil
	}
	return netip.AddrPortFrom(ip.Unmap(), addr.Port()).String(), nil
}

// onlyHere reports whether addr means another thing, or nothing, on another
// host.
func onlyHere(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil { // unix:…
		return true
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// completed expands and checks explicit addresses, and adds the listener's port
// where there is none. They are not tried: the address of a NAT or a load balancer cannot
// be tried from here.
func completed(addrs []string, lis net.Addr) ([]string, error) {
	out := make([]string, len(addrs))
	for i, addr := range addrs {
		addr, err := expanded(addr)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(addr, "unix:") {
			out[i] = addr
			continue
		}
		host, port, err := net.SplitHostPort(addr)
		if err != nil { // "host", "10.0.0.1", "::1", "[::1]"
			host, port = strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]"), "0"
		}
		if port == "0" || port == "" {
			if _, port, err = net.SplitHostPort(lis.String()); err != nil {
				return nil, fmt.Errorf("micro: WithAdvertise(%q) has no port, and neither has the listener %q: set host:port", addr, lis)
			}
		}
		if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
			return nil, fmt.Errorf("micro: WithAdvertise(%q): no client can dial an unspecified address: set the host's name or IP", addr)
		}
		out[i] = net.JoinHostPort(host, port)
	}
	return out, nil
}

// routeTo returns the local address from which the registry is reached, by
// asking the kernel's routing table: connecting a UDP socket sends nothing.
// Without servers everything is on this machine.
func routeTo(ctx context.Context, registry []string) (netip.Addr, error) {
	if len(registry) == 0 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	ctx, cancel := context.WithTimeout(ctx, routeTimeout)
	defer cancel()
	var dialer net.Dialer
	var last error
	for _, server := range registry {
		conn, err := dialer.DialContext(ctx, "udp", server)
		if err != nil {
			last = err
			continue
		}
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
		_ = conn.Close() // nothing was sent
		return local.Unmap(), nil
	}
	return netip.Addr{}, fmt.Errorf("micro: no route to the registry at %s, so no address to announce: check its address, or say with WithAdvertise where clients reach this service: %w", strings.Join(registry, ","), last)
}
