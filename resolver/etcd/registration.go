package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver"
)

// lookAgain is how long to wait before looking again at a key that could not be
// watched.
const lookAgain = time.Second

// entry is one instance in etcd.
type entry struct {
	key, value string
	written    int64 // the revision of Register's put
}

// registration is the keys that one Register call put, and their lease.
type registration struct {
	r       *Registry
	lease   clientv3.LeaseID
	entries []entry // their values are those of Register

	ctx    context.Context // ends with Deregister, with a loss, or with the registry
	cancel context.CancelFunc
	lost   chan struct{}

	edits    resolver.Edits
	updating sync.Mutex       // held by an Update, and to tell its writes from those of others
	own      map[string]int64 // the revision of our last write of a key; guarded by updating

	mu      sync.Mutex // guards what follows
	leaving bool       // Deregister has begun, after which nothing is a loss
	gone    bool       // lost is closed

	revoking sync.Mutex // held by a Deregister that asks etcd
	revoked  bool       // guarded by revoking
}

func newRegistration(r *Registry, lease clientv3.LeaseID, entries []entry) *registration {
	g := &registration{r: r, lease: lease, entries: entries, lost: make(chan struct{}), own: make(map[string]int64)}
	g.ctx, g.cancel = context.WithCancel(r.ctx)
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
		for i := range chunk {
			chunk[i].written = res.Header.GetRevision()
			g.own[chunk[i].key] = chunk[i].written
		}
	}
	return nil
}

// start renews the lease and watches the keys, until Deregister, a loss or the
// end of the registry. It needs a call to have begun.
func (g *registration) start() error {
	renewals, err := g.r.client.KeepAlive(g.ctx, g.lease)
	if err != nil {
		return err
	}
	g.r.tasks.Go(func() {
		for range renewals { //nolint:revive // that they come is all there is to know
		}
		g.lose()
	})
	for _, e := range g.entries {
		g.r.tasks.Go(func() { g.guard(e) })
	}
	return nil
}

// guard sees when a key is deleted: by hand, or because whoever had taken it over
// has gone. That it is taken over is not a loss: it is how a new process takes
// the name of an old one that is about to go, and if both fought for it, neither
// would be found for long. What somebody else writes on our lease is an edit.
func (g *registration) guard(e entry) {
	for from := e.written + 1; g.ctx.Err() == nil; {
		ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(g.ctx))
		ctx, stream := g.r.streams.on(ctx)
		renewed := false
		for res := range received(g.ctx, g.r.client.Watch(ctx, e.key, clientv3.WithRev(from))) {
			renewed = res.Err() != nil && g.r.streams.renew(stream, res.Err())
			for _, event := range res.Events {
				from = event.Kv.GetModRevision() + 1
				if event.Type == clientv3.EventTypeDelete {
					g.lose()
				} else {
					g.edited(event.Kv)
				}
			}
		}
		cancel()
		if !renewed {
			from = g.look(e.key, from)
		}
	}
}

// received yields what a watch says until it closes or ctx ends. At the end of
// its context etcd's client closes it, too, but not when thousands end at once:
// then its stream can wait for a server that waits for it, for ever.
func received(ctx context.Context, watch clientv3.WatchChan) iter.Seq[clientv3.WatchResponse] {
	return func(yield func(clientv3.WatchResponse) bool) {
		for {
			select {
			case res, ok := <-watch:
				if !ok || !yield(res) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// look is for when the watch ended: was the key deleted meanwhile, or edited? It
// returns where to watch from.
func (g *registration) look(key string, from int64) int64 {
	for {
		select {
		case <-g.ctx.Done():
			return from
		case <-time.After(lookAgain):
		}
		ctx, cancel := context.WithTimeout(g.ctx, g.r.timeout)
		res, err := g.r.client.Get(ctx, key)
		cancel()
		if err != nil {
			continue
		}
		if len(res.Kvs) == 0 {
			g.lose()
		} else {
			g.edited(res.Kvs[0])
		}
		return res.Header.GetRevision() + 1
	}
}

// lose closes lost, and lets the lease end: whoever registers again does so on
// another one, and nobody would revoke this.
func (g *registration) lose() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancel()
	if !g.leaving && !g.gone {
		g.gone = true
		close(g.lost)
	}
}

func (g *registration) Lost() <-chan struct{} { return g.lost }

func (g *registration) Edits() *resolver.Edits { return &g.edits }

// edited notes a write of a key, unless it is ours or that of a process that
// takes it over. What cannot be read stays in etcd, where whoever lists it skips
// and logs it.
func (g *registration) edited(kv *mvccpb.KeyValue) {
	g.updating.Lock()
	defer g.updating.Unlock()
	if kv.GetModRevision() <= g.own[string(kv.GetKey())] || clientv3.LeaseID(kv.GetLease()) != g.lease {
		return
	}
	if inst, err := g.r.decodeKey(kv); err == nil {
		g.edits.Add(inst)
	}
}

// Update implements resolver.Registration: each key is changed only while it
// hangs on this registration's lease.
func (g *registration) Update(ctx context.Context, insts ...*resolver.Instance) error {
	entries, err := g.r.entries(insts)
	if err != nil {
		return err
	}
	if err := g.sameKeys(entries); err != nil {
		return err
	}
	call, err := g.r.begin(ctx, "update "+describe(insts))
	if err != nil {
		return err
	}
	defer call.end()
	g.updating.Lock()
	defer g.updating.Unlock()
	if g.ctx.Err() != nil {
		return fmt.Errorf("etcd: %s: it was deregistered, or its lease or a key is gone: register again", call.what)
	}
	var taken []string
	for chunk := range slices.Chunk(entries, maxOps-1) { // the operation of a nested transaction counts on top
		ops := make([]clientv3.Op, len(chunk))
		for i, e := range chunk {
			mine := clientv3.Compare(clientv3.LeaseValue(e.key), "=", g.lease)
			ops[i] = clientv3.OpTxn([]clientv3.Cmp{mine}, []clientv3.Op{clientv3.OpPut(e.key, e.value, clientv3.WithLease(g.lease))}, nil)
		}
		res, err := g.r.client.Txn(call.ctx).Then(ops...).Commit()
		if err != nil {
			return call.failed(err)
		}
		for i, one := range res.Responses {
			if !one.GetResponseTxn().GetSucceeded() {
				taken = append(taken, chunk[i].key)
				continue
			}
			g.own[chunk[i].key] = res.Header.GetRevision()
		}
	}
	if taken != nil {
		return fmt.Errorf("etcd: %s: another process has taken over, or deleted, %v: register again", call.what, taken)
	}
	return nil
}

// sameKeys refuses an update of anything but the whole registration.
func (g *registration) sameKeys(entries []entry) error {
	if len(entries) != len(g.entries) {
		return fmt.Errorf("etcd: update with %d instances of a registration of %d: pass each of them", len(entries), len(g.entries))
	}
	mine := make(map[string]bool, len(g.entries))
	for _, e := range g.entries {
		mine[e.key] = true
	}
	for _, e := range entries {
		if !mine[e.key] {
			return fmt.Errorf("etcd: update: %s is not part of this registration: register it", e.key)
		}
	}
	return nil
}

// Deregister implements resolver.Registration. It blocks on etcd: for at most
// 5 s, if ctx has no deadline. If it fails, the keys go when the lease ends;
// calling it again tries again.
func (g *registration) Deregister(ctx context.Context) error {
	g.mu.Lock()
	g.leaving = true
	g.cancel()
	g.mu.Unlock()

	g.revoking.Lock()
	defer g.revoking.Unlock()
	if g.revoked {
		return nil
	}
	call, err := g.r.begin(ctx, "deregister "+g.entries[0].key)
	if err != nil {
		return nil // Close has lost it, and with the lease it goes
	}
	defer call.end()
	if err := g.revoke(call.ctx); err != nil {
		return call.failed(err)
	}
	g.revoked = true
	return nil
}

// revoke ends the lease, and with it whatever still hangs on it: this is what
// fences a delete.
func (g *registration) revoke(ctx context.Context) error {
	_, err := g.r.client.Revoke(ctx, g.lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil // it has ended by itself
	}
	return err
}

// undo takes back what a Register that failed has put. It goes on when ctx ends,
// which may be why Register failed, and needs a call to have begun.
func (g *registration) undo(ctx context.Context) error {
	g.cancel()
	done := make(chan error, 1)
	g.r.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.r.timeout)
		defer cancel()
		done <- g.revoke(ctx)
	})
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("etcd: what was registered goes in %v, because it could not be taken back: %w", g.r.ttl, err)
		}
	case <-ctx.Done():
	}
	return nil
}
