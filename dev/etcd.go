package dev

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// startTimeout bounds a start whose ctx has no deadline.
const startTimeout = 30 * time.Second

// Etcd is a running etcd of one node.
type Etcd struct {
	server *embed.Etcd
	addr   string
	lock   *folder

	mu   sync.Mutex // guards grpc
	grpc []*grpc.Server

	close func() error
}

// StartEtcd starts etcd and blocks until it answers, for at most 30 s if ctx has
// no deadline. The caller closes it, after its clients.
func StartEtcd(ctx context.Context, opts ...Option) (*Etcd, error) {
	o := newOptions(opts)
	if err := o.checkEtcd(); err != nil {
		return nil, err
	}
	e := &Etcd{}
	var err error
	if e.lock, err = openFolder("etcd", o.dataDir); err != nil {
		return nil, err
	}
	if err := e.start(ctx, e.config(o)); err != nil {
		return nil, errors.Join(err, e.lock.close())
	}
	e.close = sync.OnceValue(e.stop)
	return e, nil
}

func (e *Etcd) config(o options) *embed.Config {
	if o.address == "" {
		o.address = "127.0.0.1:0"
	}
	client, peer := url.URL{Scheme: "http", Host: o.address}, url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg := embed.NewConfig()
	cfg.Dir = e.lock.data
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.TickMs, cfg.ElectionMs = 50, 500 // nobody to wait for: up in a third of a second
	cfg.UnsafeNoFsync = e.lock.temporary
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.ServiceRegister = func(s *grpc.Server) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.grpc = append(e.grpc, s)
	}
	return cfg
}

func (e *Etcd) start(ctx context.Context, cfg *embed.Config) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var err error
	if e.server, err = embed.StartEtcd(cfg); err != nil {
		return fmt.Errorf("dev: start etcd on %s with data in %s: %w", cfg.ListenClientUrls[0].Host, cfg.Dir, err)
	}
	select {
	case <-e.server.Server.ReadyNotify():
		e.addr = e.server.Clients[0].Addr().String()
		return nil
	case err = <-e.server.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.end()
	return fmt.Errorf("dev: start etcd on %s with data in %s: it did not become ready: %w", cfg.ListenClientUrls[0].Host, cfg.Dir, err)
}

// Endpoints returns where clients reach it, as host:port.
func (e *Etcd) Endpoints() []string { return []string{e.addr} }

// URL returns it as package resolver opens it.
func (e *Etcd) URL() string { return "etcd://" + e.addr }

// Close stops it, and removes its data if they were in no folder of the
// caller's. Clients that are still connected are cut off.
func (e *Etcd) Close() error { return e.close() }

func (e *Etcd) stop() error {
	e.end()
	return e.lock.close()
}

// end stops the grpc servers before etcd would: it waits up to 7 s for watches
// and keepalives, which never end by themselves.
func (e *Etcd) end() {
	e.mu.Lock()
	servers := e.grpc
	e.mu.Unlock()
	for _, s := range servers {
		s.Stop()
	}
	e.server.Close()
}
