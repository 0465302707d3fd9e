package mdns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/ipv4"
)

var errNoNetwork = errors.New("mdns: no network interface is up that has multicast and an IPv4 address: connect one, name one (mdns://eth0), or use mdns://lo, which reaches this machine only")

// iface is an interface with its IPv4 networks.
type iface struct {
	net.Interface

	nets []netip.Prefix
}

// check refuses interfaces by name that are not there, or will never do. One
// that is down, or not connected, may come: that shows in the calls.
func (n *network) check() error {
	all, err := n.list()
	if err != nil {
		return fmt.Errorf("mdns: list network interfaces: %w", err)
	}
	var known []string
	for _, i := range all {
		if canMulticast(i) {
			known = append(known, i.Name)
		}
	}
	for _, name := range n.names {
		at := slices.IndexFunc(all, func(i net.Interface) bool { return i.Name == name })
		switch {
		case at < 0:
			return fmt.Errorf("mdns: there is no network interface %q: this machine has %s", name, strings.Join(known, ", "))
		case !canMulticast(all[at]):
			return fmt.Errorf("mdns: network interface %q has no multicast: take one of %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// canMulticast is true for loopback, too: it does not say that it can, and does.
func canMulticast(i net.Interface) bool {
	return i.Flags&(net.FlagMulticast|net.FlagLoopback) != 0
}

// look finds out which interfaces can be used now, and joins the group on those
// that are new, of which it reports whether there are any.
func (n *network) look() (fresh bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fresh, n.away = n.join()
	return fresh, n.away
}

// join needs mu.
func (n *network) join() (fresh bool, err error) {
	all, err := n.list()
	if err != nil {
		return false, fmt.Errorf("mdns: list network interfaces: %w", err)
	}
	var usable []iface
	var failed error
	for _, i := range all {
		if !n.wants(i) {
			continue
		}
		nets := networks(i)
		if len(nets) == 0 {
			continue
		}
		if !slices.ContainsFunc(n.usable, func(u iface) bool { return u.Index == i.Index }) {
			_ = n.shared.LeaveGroup(&i, group) // of an earlier one of that index
			if err := n.shared.JoinGroup(&i, group); err != nil {
				failed = fmt.Errorf("mdns: join the group %v on network interface %s: %w", group.IP, i.Name, err)
				continue
			}
			fresh = true
		}
		usable = append(usable, iface{i, nets})
	}
	n.usable = usable
	switch {
	case len(usable) > 0:
		return fresh, nil
	case failed != nil:
		return false, failed
	case len(n.names) > 0:
		return false, fmt.Errorf("mdns: network interface %s is not up, or has no IPv4 address: bring it up, or name another one", strings.Join(n.names, ", "))
	default:
		return false, errNoNetwork
	}
}

// wants leaves out, unless named, loopback and the tunnels: what is announced is
// for the LAN.
func (n *network) wants(i net.Interface) bool {
	if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 || !canMulticast(i) {
		return false
	}
	if len(n.names) > 0 {
		return slices.Contains(n.names, i.Name)
	}
	return i.Flags&(net.FlagLoopback|net.FlagPointToPoint) == 0
}

func networks(i net.Interface) []netip.Prefix {
	addrs, err := i.Addrs()
	if err != nil {
		return nil // it is gone
	}
	var nets []netip.Prefix
	for _, addr := range addrs {
		if p, err := netip.ParsePrefix(addr.String()); err == nil && p.Addr().Is4() {
			nets = append(nets, p)
		}
	}
	return nets
}

// interfaces returns those that can be used, or why there is none.
func (n *network) interfaces() ([]iface, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.usable, n.away
}

// addrs returns this machine's addresses on the interfaces.
func (n *network) addrs() []netip.Addr {
	var addrs []netip.Addr
	ifaces, _ := n.interfaces()
	for _, i := range ifaces {
		for _, p := range i.nets {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs
}

// accepts reports whether a packet that came to the shared socket was sent to
// the group by way of one of the interfaces. A socket hears all groups that
// anybody on the machine has joined, and whoever knows the address.
func (n *network) accepts(cm *ipv4.ControlMessage) bool {
	if cm == nil || cm.IfIndex == 0 {
		return true // the system does not say
	}
	ifaces, _ := n.interfaces()
	return (cm.Dst == nil || cm.Dst.Equal(group.IP)) && slices.ContainsFunc(ifaces, func(i iface) bool { return i.Index == cm.IfIndex })
}

// onLink reports whether a sender is of one of the networks: nobody else is
// answered. What comes by loopback is, whatever its address is.
func (n *network) onLink(cm *ipv4.ControlMessage, from *net.UDPAddr) bool {
	ip := from.AddrPort().Addr().Unmap()
	ifaces, _ := n.interfaces()
	return slices.ContainsFunc(ifaces, func(i iface) bool {
		if cm != nil && cm.IfIndex == i.Index && i.Flags&net.FlagLoopback != 0 {
			return true
		}
		return slices.ContainsFunc(i.nets, func(p netip.Prefix) bool { return p.Contains(ip) })
	})
}
