package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// etcdNode is one etcd, which may be stopped and started again.
type etcdNode struct {
	name, dir, client, peer string
	members                 string // name=URL of each, as etcd wants it
	temporary               bool   // the data need not survive a crash of the machine
	logger                  *slog.Logger

	mu     sync.Mutex  // held while it starts or stops
	server *embed.Etcd // nil while it is stopped

	grpcMu sync.Mutex // guards grpc, which etcd's own goroutine sets
	grpc   []*grpc.Server
}

// start begins to listen; await then waits until it answers, which in a cluster
// it does only when most of the others have been started as well.
func (n *etcdNode) start() (err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server != nil {
		return errors.New("it is running")
	}
	// What etcd cannot read in its folder makes it log a fatal error, which our
	// logger turns into a panic, instead of an exit of the process.
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("etcd gave up, perhaps because of what is in %s: %v", n.dir, cause)
		}
	}()
	n.server, err = embed.StartEtcd(n.config())
	return err
}

func (n *etcdNode) config() *embed.Config {
	client, peer := []url.URL{{Scheme: "http", Host: n.client}}, []url.URL{{Scheme: "http", Host: n.peer}}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = n.name, n.dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = client, client
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peer, peer
	cfg.InitialCluster = n.members
	cfg.TickMs, cfg.ElectionMs = 50, 500 // on one machine: up in a third of a second
	cfg.UnsafeNoFsync = n.temporary
	cfg.EnableGRPCGateway = false // nobody asks it for JSON
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapLogger(n.logger))
	cfg.ServiceRegister = func(s *grpc.Server) {
		n.grpcMu.Lock()
		defer n.grpcMu.Unlock()
		n.grpc = append(n.grpc, s)
	}
	return cfg
}

func (n *etcdNode) await(ctx context.Context) error {
	n.mu.Lock()
	server := n.server
	n.mu.Unlock()
	if server == nil {
		return errors.New("it was stopped while it started")
	}
	if ctx.Err() != nil { // also if it is ready by now
		return fmt.Errorf("it is not ready: %w", context.Cause(ctx))
	}
	select {
	case <-server.Server.ReadyNotify():
		return nil
	case <-server.Server.StopNotify():
		return errors.New("it stopped by itself")
	case err := <-server.Err():
		return fmt.Errorf("it did not come up: %w", err)
	case <-ctx.Done():
		return fmt.Errorf("it is not ready: %w", context.Cause(ctx))
	}
}

// stop is as sudden as a crash, because all that etcd does to be gentle takes
// seconds: it waits for watches and keepalives, which never end by themselves,
// and looks for another node to lead, which may be about to stop, too.
func (n *etcdNode) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return
	}
	n.grpcMu.Lock()
	for _, s := range n.grpc {
		s.Stop()
	}
	n.grpc = nil
	n.grpcMu.Unlock()
	n.server.Server.HardStop()
	n.server.Close()
	n.server = nil
}
