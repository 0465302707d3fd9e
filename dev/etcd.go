package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startTimeout bounds a start, also if its ctx has a later deadline or none.
	startTimeout = 30 * time.Second

	// portAttempts is how often a start looks for free ports, because someone
	// else may take one before etcd does.
	portAttempts = 5
)

// Etcd is a running etcd: one node, or a cluster of them in this process. Its
// methods are safe for concurrent use.
type Etcd struct {
	folder *folder
	nodes  []*etcdNode
	close  func() error
}

// StartEtcd starts etcd and blocks until it answers, which takes about 0.3 s,
// and at most 30 s. ctx bounds the start and nothing after it. The caller
// closes it, best after its clients.
func StartEtcd(ctx context.Context, opts ...Option) (*Etcd, error) {
	o := newOptions(opts)
	if err := o.checkEtcd(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	f, err := openFolder(ctx, "etcd", o.dataDir)
	if err != nil {
		return nil, err
	}
	e := &Etcd{folder: f}
	for range portAttempts {
		if err = e.start(ctx, o); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	e.close = sync.OnceValue(func() error {
		e.stop()
		return f.close()
	})
	return e, nil
}

// errPortTaken is a port that was free a moment ago.
var errPortTaken = fmt.Errorf("a port was taken since it was found to be free: %w", syscall.EADDRINUSE)

// start makes the nodes and starts them, all or none.
func (e *Etcd) start(ctx context.Context, o options) error {
	addrs, err := reserve(ctx, o.etcdAddresses())
	if err != nil {
		return fmt.Errorf("dev: start etcd: %w: stop what listens there, or choose another address with WithAddress", err)
	}
	clients, peers := addrs[:o.nodes], addrs[o.nodes:]
	names := make([]string, o.nodes)
	members := make([]string, o.nodes)
	for i, peer := range peers {
		names[i] = fmt.Sprintf("node-%d", i)
		members[i] = names[i] + "=http://" + peer
	}
	e.nodes = make([]*etcdNode, o.nodes)
	for i, name := range names {
		dir := e.folder.data
		if o.nodes > 1 {
			dir = filepath.Join(dir, name)
		}
		e.nodes[i] = &etcdNode{
			name: name, dir: dir, client: clients[i], peer: peers[i], members: strings.Join(members, ","),
			temporary: e.folder.temporary, logger: o.logger,
		}
	}
	for _, n := range e.nodes {
		err = errors.Join(err, n.start())
	}
	for _, n := range e.nodes {
		if err == nil {
			err = n.await(ctx)
		}
	}
	if err == nil {
		return nil
	}
	e.stop()
	if e.folder.temporary { // what they wrote names ports that the next attempt does not have
		err = errors.Join(err, os.RemoveAll(e.folder.data))
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		err = errors.Join(errPortTaken, err)
	}
	return fmt.Errorf("dev: start etcd on %s with data in %s: %w", strings.Join(clients, " and "), e.folder.root, err)
}

// reserve turns addresses with port 0 into free ones: etcd must know its own
// before it listens, and tells them to its clients.
func reserve(ctx context.Context, addrs []string) ([]string, error) {
	free := make([]string, len(addrs))
	for i, addr := range addrs {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		defer func() { _ = ln.Close() }()
		free[i] = ln.Addr().String()
	}
	return free, nil
}

// Endpoints returns where clients reach it, as host:port of each node.
func (e *Etcd) Endpoints() []string {
	addrs := make([]string, len(e.nodes))
	for i, n := range e.nodes {
		addrs[i] = n.client
	}
	return addrs
}

// URL returns it as package resolver opens it.
func (e *Etcd) URL() string { return "etcd://" + strings.Join(e.Endpoints(), ",") }

// StopNode stops one node, counted from 0, and cuts off its clients; its data
// and its address stay, for StartNode. It is for tests.
func (e *Etcd) StopNode(node int) { e.nodes[node].stop() }

// StartNode starts a node that StopNode stopped. It blocks until the node
// answers, at most until ctx ends or 30 s: one of a cluster that has no quorum
// does not.
func (e *Etcd) StartNode(ctx context.Context, node int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	n := e.nodes[node]
	err := n.start()
	if err == nil {
		err = n.await(ctx)
	}
	if err != nil {
		return fmt.Errorf("dev: start etcd node %d on %s: %w", node, n.client, err)
	}
	return nil
}

// Close stops it, and removes its data if they were in no folder of the
// caller's. Clients that are still connected are cut off.
func (e *Etcd) Close() error { return e.close() }

// stop stops all nodes at once: one after the other, each would look for
// another to lead.
func (e *Etcd) stop() {
	var wg sync.WaitGroup
	for _, n := range e.nodes {
		wg.Go(n.stop)
	}
	wg.Wait()
}
