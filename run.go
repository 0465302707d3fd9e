package micro

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/grpc-micro/micro/resolver"
)

// Run serves until ctx ends, a task fails or, in a Function, the one call or
// event is done; then it stops and returns nil, or what went wrong. It
// installs no signal handler: main passes the context of
// [os/signal.NotifyContext]. A Service runs once.
//
// It starts in this order: listen, serve, ready check, health SERVING,
// announce, tasks. A registry that cannot be reached is logged and tried again
// for ever, and does not keep the service from serving those who know its
// address: Ready, the health service micro.registry and the log tell.
//
// It stops in this order: draining in the registry and health NOT_SERVING,
// and the channel of Stopping is closed; the drain delay, so that clients have
// seen it; withdrawn; tasks end (a subscription finishes and commits what it
// has in hand); calls in flight end; what is left of streams has its context
// cancelled, then every connection is closed; brokers are flushed and closed.
// From the end of the drain delay all this takes at most the shutdown timeout,
// even if a handler never returns. Then the error names it, and its goroutine
// stays behind.
func (s *Service) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return fmt.Errorf("micro: service %s: Run was called a second time: make a new Service for it", s.name)
	}
	if err := s.check(); err != nil {
		return errors.Join(err, s.unused())
	}
	lis, err := s.listen(ctx)
	if err != nil {
		return errors.Join(err, s.unused())
	}
	addrs, err := advertised(ctx, s.opts.advertise, lis.Addr(), registryServers(s.opts.registry))
	var socket *localSocket
	if err == nil {
		socket = s.listenLocal(ctx, lis.Addr(), addrs)
		err = s.prepareAnnouncement(addrs, socket.name())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("micro: service %s: %w", s.name, err), lis.Close(), socket.Close(), s.unused())
	}

	served := make(chan error, 1)
	s.serve(lis, served)
	socket.serve(s)
	if err = s.awaitReady(ctx, served); err == nil && ctx.Err() == nil {
		s.opts.logger.Info("micro: serving", "service", s.name, "id", s.opts.id, "version", s.opts.version, "listen", lis.Addr(), "advertise", addrs, "local", socket.name())
		s.setHealth(grpc_health_v1.HealthCheckResponse_SERVING)
		s.announce.start(context.WithoutCancel(ctx))
		s.tasks.start(context.WithValue(context.WithoutCancel(ctx), stoppingKey{}, s.calls.stopping))
		err = s.wait(ctx, served)
	}
	return errors.Join(err, s.stop(context.WithoutCancel(ctx)))
}

func (s *Service) listen(ctx context.Context) (net.Listener, error) {
	lis := s.opts.listener
	if lis == nil {
		network, addr := "tcp", s.opts.address
		if path, ok := strings.CutPrefix(addr, "unix:"); ok {
			network, addr = "unix", strings.TrimPrefix(path, "//")
			if err := removeStale(ctx, addr); err != nil {
				return nil, fmt.Errorf("micro: service %s: %w", s.name, err)
			}
		}
		var err error
		if lis, err = new(net.ListenConfig).Listen(ctx, network, addr); err != nil {
			return nil, fmt.Errorf("micro: service %s: cannot listen on %q: choose a free address with WithAddress: %w", s.name, s.opts.address, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr = lis.Addr()
	return lis, nil
}

// removeStale removes the socket file that a killed process left behind, but
// never one that somebody still answers on.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return nil //nolint:nilerr // nothing there, or not ours to remove: Listen says so
	}
	dialer := net.Dialer{Timeout: time.Second}
	if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
		return errors.Join(fmt.Errorf("micro: another process serves on %s: choose another address with WithAddress", path), conn.Close())
	}
	return os.Remove(path)
}

// registryServers returns where the registry is, for the drivers that say so:
// the instance's own address is chosen by the route to there. One without
// servers is in this process.
func registryServers(r resolver.Registrar) []string {
	if r, ok := r.(interface{ Endpoints() []string }); ok {
		return r.Endpoints()
	}
	return nil
}

// serve makes the grpc server and serves.
func (s *Service) serve(lis net.Listener, served chan<- error) {
	giveHeadroom()
	s.registerInfrastructure()
	s.calls.serve(s.services.GetServiceInfo())
	s.server = grpc.NewServer(s.serverOptions...)
	s.services.take(s.server, &s.calls)
	go func() { served <- s.server.Serve(lis) }()
}

// awaitReady blocks until the ready check passes or ctx ends.
func (s *Service) awaitReady(ctx context.Context, served <-chan error) error {
	if s.opts.readyCheck == nil {
		return nil
	}
	const longest = 2 * time.Second
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, longest) {
		err := s.opts.readyCheck(ctx)
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is no failure
		}
		s.opts.logger.Warn("micro: not ready", "service", s.name, "error", err, "retry", pause)
		select {
		case err := <-served:
			return s.servingEnded(err)
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// wait blocks until there is a reason to stop.
func (s *Service) wait(ctx context.Context, served <-chan error) error {
	var taken, finished <-chan struct{} // for ever open but in a Function
	if s.once != nil {
		taken, finished = s.once.taken, s.once.finished
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-taken: // it has what it was made for: let others be picked
			taken = nil
			s.health.Shutdown()
			s.announce.drain(ctx)
		case <-finished:
			return nil
		case err := <-s.tasks.failed:
			return fmt.Errorf("micro: service %s: %w", s.name, err)
		case err := <-served:
			return s.servingEnded(err)
		}
	}
}

func (s *Service) servingEnded(err error) error {
	return fmt.Errorf("micro: service %s: serving on %v ended: %w", s.name, s.Addr(), err)
}
