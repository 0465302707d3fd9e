package micro

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// expanded replaces what WithAdvertise takes beside addresses by the address it
// means on this host: "$POD_IP", "interface:eth0", "10.0.0.0/8".
func expanded(addr string) (string, error) {
	if name, ok := strings.CutPrefix(addr, "$"); ok {
		return fromEnvironment(name)
	}
	if name, ok := strings.CutPrefix(addr, "interface:"); ok {
		return fromInterface(name)
	}
	if prefix, err := netip.ParsePrefix(addr); err == nil {
		return fromNetwork(prefix)
	}
	return addr, nil
}

func fromEnvironment(name string) (string, error) {
	name, port, hasPort := strings.Cut(name, ":")
	host := os.Getenv(name)
	if host == "" {
		return "", fmt.Errorf("micro: WithAdvertise(%q): the environment has no %s: set it (in Kubernetes with the downward API: fieldPath status.podIP), or advertise something else", "$"+name, name)
	}
	if hasPort {
		return net.JoinHostPort(host, port), nil
	}
	return host, nil
}

func fromInterface(name string) (string, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return "", fmt.Errorf("micro: WithAdvertise(%q): this host has the interfaces %s: %w", "interface:"+name, strings.Join(interfaceNames(), ", "), err)
	}
	addrs, err := addressesOf(*iface)
	if err == nil && len(addrs) == 0 {
		err = errors.New("it has no address, or only link-local ones: choose another")
	}
	if err != nil {
		return "", fmt.Errorf("micro: WithAdvertise(%q): %w", "interface:"+name, err)
	}
	return addrs[0].String(), nil
}

func fromNetwork(prefix netip.Prefix) (string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("micro: WithAdvertise(%q): %w", prefix, err)
	}
	var all []string
	for _, iface := range interfaces {
		addrs, err := addressesOf(iface)
		if err != nil {
			return "", fmt.Errorf("micro: WithAdvertise(%q): %w", prefix, err)
		}
		for _, ip := range addrs {
			if prefix.Contains(ip) {
				return ip.String(), nil
			}
			all = append(all, ip.String())
		}
	}
	return "", fmt.Errorf("micro: WithAdvertise(%q): no address of this host is in that network: it has %s", prefix, strings.Join(all, ", "))
}

// addressesOf returns an interface's addresses that others can dial, IPv4
// first: every network that has both routes that. A link-local one means
// nothing without the name of the dialer's own interface.
func addressesOf(iface net.Interface) ([]netip.Addr, error) {
	if iface.Flags&net.FlagUp == 0 {
		return nil, nil
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, addr := range addrs {
		if prefix, err := netip.ParsePrefix(addr.String()); err == nil && !prefix.Addr().IsLinkLocalUnicast() {
			out = append(out, prefix.Addr().Unmap())
		}
	}
	slices.SortStableFunc(out, func(a, b netip.Addr) int { return cmp.Compare(a.BitLen(), b.BitLen()) })
	return out, nil
}

func interfaceNames() []string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil // InterfaceByName's error says it
	}
	var names []string
	for _, iface := range interfaces {
		names = append(names, iface.Name)
	}
	return names
}
