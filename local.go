package micro

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"

	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/resolver"
)

// localSocket is where clients on this host come in; nil: they come by TCP, like
// everybody else.
type localSocket struct {
	net.Listener

	announced string // as Instance.Local
}

// listenLocal returns nil if there is to be no socket, and if there can be none,
// for that stops nothing.
func (s *Service) listenLocal(ctx context.Context, lis net.Addr, addrs []string) *localSocket {
	if !s.opts.localSocket || s.opts.listener != nil || s.opts.registry == nil || !isOwn(addrs[0], lis) {
		return nil
	}
	socket, announced, err := resolver.ListenLocal(ctx)
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			s.opts.logger.Warn("micro: no local socket, clients on this host come by TCP", "service", s.name, "error", err)
		}
		return nil
	}
	return &localSocket{socket, announced}
}

// name is how to announce the socket.
func (l *localSocket) name() string {
	if l == nil {
		return ""
	}
	return l.announced
}

// serve serves on the socket, as on the other listener, until the server stops.
func (l *localSocket) serve(s *Service) {
	if l == nil {
		return
	}
	go func() {
		if err := s.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.opts.logger.Warn("micro: serving on the local socket ended, clients on this host come by TCP", "service", s.name, "error", err)
		}
	}()
}

// Close is for a socket that is not served on.
func (l *localSocket) Close() error {
	if l == nil {
		return nil
	}
	return l.Listener.Close()
}

// isOwn reports whether whoever dials addr reaches the listener with nobody in
// between. A name, an address of another host and another port are those of a
// load balancer or a proxy, which is there for a reason.
func isOwn(addr string, lis net.Addr) bool {
	dialed, err := netip.ParseAddrPort(addr)
	listening, lisErr := netip.ParseAddrPort(lis.String())
	if err != nil || lisErr != nil || dialed.Port() != listening.Port() {
		return false
	}
	ip := dialed.Addr().Unmap()
	if !listening.Addr().IsUnspecified() {
		return ip == listening.Addr().Unmap()
	}
	if ip.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == ip
	})
}
