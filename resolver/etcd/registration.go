package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver"
)

// lookAgain is how long to wait before looking again at keys that could not be
// watched.
const lookAgain = time.Second

type entry struct{ key, value string }

// registration is the keys that one Register call put, and their lease.
type registration struct {
	r       *Registry
	lease   clientv3.LeaseID
	entries []entry // only the keys are of use after put
	written int64   // revision of put

	ctx    context.Context // ends with Deregister, or with the registry
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	lost   chan struct{}
	lose   func() // closes lost, once

	leaving atomic.Bool // Deregister has begun, which is no loss
	mu      sync.Mutex // serializes Deregister
	revoked bool       // guarded by mu
}

func newRegistration(r *Registry, lease clientv3.LeaseID, entries []entry) *registration {
	g := &registration{r: r, lease: lease, entries: entries, lost: make(chan struct{})}
	g.ctx, g.cancel = context.WithCancel(r.ctx)
	g.lose = sync.OnceFunc(func() { close(g.lost) })
	return g
}

// put writes the keys, in one transaction if they fit into one. If not, the
// caller takes back what is there by revoking the lease.
func (g *registration) put(ctx context.Context) error {
	for chunk := range slices.Chunk(g.entries, maxOps) {
		ops := make([]clientv3.Op, len(chunk))
		for i, e := range chunk {
			ops[i] = clientv3.OpPut(e.key, e.value, clientv3.WithLease(g.lease))
		}
		res, err := g.r.client.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return err
		}
		g.written = res.Header.Revision
	}
	return nil
}

// start renews the lease and watches the keys, until Deregister or the end of
// the registry.
func (g *registration) start() error {
	renewals, err := g.r.client.KeepAlive(g.ctx, g.lease)
	if err != nil {
		return err
	}
	g.spawn(func() {
		for range renewals { //nolint:revive // that they come is all there is to know
		}
		if !g.leaving.Load() {
			g.lose()
		}
	})
	for _, e := range g.entries {
		g.spawn(func() { g.guard(e.key) })
	}
	return nil
}

// spawn runs a task that both Deregister and Close wait for.
func (g *registration) spawn(task func()) {
	g.tasks.Add(1)
	g.r.tasks.Go(func() {
		defer g.tasks.Done()
		task()
	})
}

// guard sees when somebody else deletes the key. That it is taken over by a put
// is not a loss: it is how a new process takes the name of an old one that is
// about to go.
func (g *registration) guard(key string) {
	from := g.written + 1
	for g.ctx.Err() == nil {
		ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(g.ctx))
		watch := g.r.client.Watch(ctx, key, clientv3.WithRev(from), clientv3.WithFilterPut(), clientv3.WithPrevKV())
		for res := range watch {
			for _, ev := range res.Events {
				if ev.PrevKv == nil || clientv3.LeaseID(ev.PrevKv.Lease) == g.lease {
					g.lose()
				}
			}
		}
		cancel()
		from = g.look(key, from)
	}
}

// look is for when the watch ended: was the key deleted meanwhile? It returns
// where to watch from.
func (g *registration) look(key string, from int64) int64 {
	for {
		ctx, cancel := bounded(g.ctx)
		res, err := g.r.client.Get(ctx, key)
		cancel()
		if err == nil {
			if len(res.Kvs) == 0 && g.ctx.Err() == nil {
				g.lose()
			}
			return res.Header.Revision + 1
		}
		select {
		case <-g.ctx.Done():
			return from
		case <-time.After(lookAgain):
		}
	}
}

func (g *registration) Lost() <-chan struct{} { return g.lost }

// Update implements resolver.Registration: each key is changed only while it
// hangs on this registration's lease.
func (g *registration) Update(ctx context.Context, insts ...*resolver.Instance) error {
	entries, err := g.r.puts(insts)
	if err != nil {
		return err
	}
	if err := g.sameKeys(entries); err != nil {
		return err
	}
	if g.r.ctx.Err() != nil {
		return resolver.ErrClosed
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	var taken []string
	for chunk := range slices.Chunk(entries, maxOps-1) { // a nested transaction counts on top
		ops := make([]clientv3.Op, len(chunk))
		for i, e := range chunk {
			mine := clientv3.Compare(clientv3.LeaseValue(e.key), "=", g.lease)
			ops[i] = clientv3.OpTxn([]clientv3.Cmp{mine}, []clientv3.Op{clientv3.OpPut(e.key, e.value, clientv3.WithLease(g.lease))}, nil)
		}
		res, err := g.r.client.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return g.r.explain(ctx, "update "+insts[0].Service, err)
		}
		for i, one := range res.Responses {
			if !one.GetResponseTxn().Succeeded {
				taken = append(taken, chunk[i].key)
			}
		}
	}
	if taken != nil {
		return fmt.Errorf("etcd: update: the lease of %v has ended, or another process has taken it over: register again", taken)
	}
	return nil
}

// sameKeys refuses an update of anything but the whole registration.
func (g *registration) sameKeys(entries []entry) error {
	if len(entries) != len(g.entries) {
		return fmt.Errorf("etcd: update with %d instances of a registration of %d: pass each of them", len(entries), len(g.entries))
	}
	for _, e := range entries {
		if !slices.ContainsFunc(g.entries, func(mine entry) bool { return mine.key == e.key }) {
			return fmt.Errorf("etcd: update: %s is not part of this registration: register it", e.key)
		}
	}
	return nil
}

// Deregister implements resolver.Registration.
func (g *registration) Deregister(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.revoked {
		return nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := g.revoke(ctx); err != nil {
		return g.r.explain(ctx, "deregister "+g.entries[0].key, err)
	}
	g.revoked = true
	return nil
}

// revoke ends the lease, and with it whatever still hangs on it.
func (g *registration) revoke(ctx context.Context) error {
	g.leaving.Store(true)
	g.cancel()
	g.tasks.Wait()
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := g.r.client.Revoke(ctx, g.lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil // it has ended by itself
	}
	return err
}
