package mdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	port = 5353

	// burst packets are sent at once, and the next after a pause: a socket's
	// receive buffer holds about a hundred, for all who announce just then.
	burst = 32
	pause = 5 * time.Millisecond

	sendTimeout = 2 * time.Second
	readBuffer  = 1 << 20 // bytes; systems that allow less give what they allow
)

var group = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: port}

// network is the interfaces that are used, and two sockets.
//
// github.com/hashicorp/mdns has a server and a query, but what is needed here is
// below them: its server only answers, and cannot say by itself that something
// has changed; its query tells neither times to live nor goodbyes, and listens
// on an interface that one cannot choose; and nobody can wait for their
// goroutines. So this is golang.org/x/net and github.com/miekg/dns, on which
// it is built, too.
type network struct {
	names []string // of interfaces; none: all that will do
	list  func() ([]net.Interface, error)

	// shared has port 5353, with all others on this machine that have it, and
	// hears what is said to the group.
	shared *ipv4.PacketConn
	// direct has a port of its own, which is where answers come that are for us
	// alone.
	direct *ipv4.PacketConn

	sending sync.Mutex // the choice of a socket's interface, and the write

	mu     sync.Mutex // guards what follows
	usable []iface    // and joined
	away   error      // why there is none
}

func openNetwork(names []string, list func() ([]net.Interface, error)) (*network, error) {
	n := &network{names: names, list: list}
	if err := n.check(); err != nil {
		return nil, err
	}
	// Given a group's address, package net shares the port, and listens on all
	// addresses. It joins nothing.
	ctx, listen := context.Background(), new(net.ListenConfig) // neither blocks
	shared, err := listen.ListenPacket(ctx, "udp4", group.String())
	if err != nil {
		return nil, fmt.Errorf("mdns: UDP port %d cannot be shared: stop the program that has it for itself: %w", port, err)
	}
	direct, err := listen.ListenPacket(ctx, "udp4", ":0") // answers come by any interface
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mdns: no UDP socket: %w", err), shared.Close())
	}
	n.shared, n.direct = ipv4.NewPacketConn(shared), ipv4.NewPacketConn(direct)
	for _, c := range []*ipv4.PacketConn{n.shared, n.direct} {
		// Each may be more than a system can do. Without a control message
		// what comes in is not filtered by interface.
		_ = c.SetMulticastLoopback(true)
		_ = c.SetMulticastTTL(255)
		_ = c.SetControlMessage(ipv4.FlagInterface|ipv4.FlagDst, true)
	}
	for _, c := range []net.PacketConn{shared, direct} {
		_ = c.(*net.UDPConn).SetReadBuffer(readBuffer)
	}
	return n, nil
}

// multicast sends packets to the group, on each interface, from conn. It fails
// when no interface takes one.
func (n *network) multicast(ctx context.Context, conn *ipv4.PacketConn, packets [][]byte) error {
	ifaces, err := n.interfaces()
	if err != nil {
		return err
	}
	for k, packet := range packets {
		if err := pace(ctx, k); err != nil {
			return err
		}
		var failed error
		sent := false
		for _, i := range ifaces {
			if err := n.sendBy(&i.Interface, conn, packet); err != nil {
				failed = fmt.Errorf("mdns: send by network interface %s: is it connected, and does a firewall let UDP to %v pass? %w", i.Name, group, err)
				continue
			}
			sent = true
		}
		if !sent {
			return failed
		}
	}
	return nil
}

func (n *network) sendBy(i *net.Interface, conn *ipv4.PacketConn, packet []byte) error {
	n.sending.Lock()
	defer n.sending.Unlock()
	if err := conn.SetMulticastInterface(i); err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err := conn.WriteTo(packet, nil, group)
	return err
}

// reply sends packets to one asker, who will ask again if they are lost.
func (n *network) reply(ctx context.Context, packets [][]byte, to net.Addr) {
	for k, packet := range packets {
		if pace(ctx, k) != nil {
			return
		}
		if err := n.shared.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
			return
		}
		if _, err := n.shared.WriteTo(packet, nil, to); err != nil {
			return
		}
	}
}

// pace pauses before packet k, if it is time for that.
func pace(ctx context.Context, k int) error {
	if k == 0 || k%burst != 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (n *network) close() error { return errors.Join(n.shared.Close(), n.direct.Close()) }

func (n *network) directPort() int { return n.direct.LocalAddr().(*net.UDPAddr).Port }
