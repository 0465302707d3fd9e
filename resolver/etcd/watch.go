package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver"
)

// compareEvery is how often a watch asks, give or take a third, whether it still
// talks to the store that it listed. A store that was wiped and restored counts
// its revisions from the beginning, and a watch from a later one gets no event
// and no error, for ever.
const compareEvery = 45 * time.Second

// Watch implements resolver.Discovery. It lists what there is, which blocks on
// etcd for at most 5 s, whatever the deadline of ctx; the list is linearizable,
// and events follow it without a gap. A watch whose etcd has lost its leader, or
// has compacted away the events to come, ends with an error.
func (r *Registry) Watch(ctx context.Context, service string) iter.Seq2[[]*resolver.Instance, error] {
	return func(yield func([]*resolver.Instance, error) bool) {
		if err := resolver.ValidateService(service); err != nil {
			yield(nil, err)
			return
		}
		err := r.watch(ctx, service, yield)
		switch {
		case err == nil || ctx.Err() != nil:
		case r.ctx.Err() != nil:
			yield(nil, resolver.ErrClosed)
		default:
			yield(nil, err)
		}
	}
}

// watch returns nil when yield has had enough.
func (r *Registry) watch(ctx context.Context, service string, yield func([]*resolver.Instance, error) bool) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()

	v, err := r.list(ctx, service)
	if err != nil {
		return err
	}
	if !yield(v.instances, nil) {
		return nil
	}
	compare := time.NewTimer(jittered(r.compare))
	defer compare.Stop()
	events := r.client.Watch(ctx, v.dir, clientv3.WithPrefix(), clientv3.WithRev(v.revision+1))
	for {
		select {
		case res, ok := <-events:
			changed, err := v.take(res, ok, events)
			if err != nil {
				return fmt.Errorf("etcd: watch %s: %w", service, err)
			}
			if changed && !yield(v.instances, nil) {
				return nil
			}
		case <-compare.C:
			if err := v.compare(ctx); err != nil {
				return fmt.Errorf("etcd: watch %s: %w", service, err)
			}
			compare.Reset(jittered(r.compare))
		}
	}
}

func jittered(d time.Duration) time.Duration {
	return d*2/3 + rand.N(d*2/3) //nolint:gosec // spreads load, hides nothing
}

// view is what one watch has seen.
type view struct {
	r         *Registry
	dir       string // of the service, with the slash
	service   string
	instances []*resolver.Instance // sorted by ID; replaced by each change and never written
	cluster   uint64
	revision  int64
}

func (r *Registry) list(ctx context.Context, service string) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout) // that of ctx is for the watch
	defer cancel()
	call, err := r.begin(ctx, "list "+service)
	if err != nil {
		return nil, err
	}
	defer call.end()
	dir := r.dir(service)
	res, err := r.client.Get(call.ctx, dir, clientv3.WithPrefix())
	if err != nil {
		return nil, call.failed(err)
	}
	v := &view{r: r, dir: dir, service: service, cluster: res.Header.GetClusterId(), revision: res.Header.GetRevision()}
	v.instances = make([]*resolver.Instance, 0, len(res.Kvs))
	for _, kv := range res.Kvs { // in the order of the keys, and so of the IDs
		if inst := v.read(kv); inst != nil {
			v.instances = append(v.instances, inst)
		}
	}
	return v, nil
}

// read returns the instance in kv, or nil if there is none, which is noted.
func (v *view) read(kv *mvccpb.KeyValue) *resolver.Instance {
	inst, err := decode(v.service, strings.TrimPrefix(string(kv.GetKey()), v.dir), kv.GetValue())
	if err != nil {
		if key := string(kv.GetKey()); v.r.skipped.add(key, kv.GetModRevision()) {
			v.r.logger.Warn("etcd: skipping a value that is no instance: delete the key, or keep other data under another prefix", "key", key, "error", err)
		}
		return nil
	}
	return inst
}

// take applies an answer, and those that wait behind it, as one change.
func (v *view) take(res clientv3.WatchResponse, ok bool, more clientv3.WatchChan) (changed bool, err error) {
	var next []*resolver.Instance // a copy, made for the first change
	for {
		if !ok {
			return false, errors.New("the watch was closed")
		}
		if err := res.Err(); err != nil {
			return false, err
		}
		v.revision = max(v.revision, res.Header.GetRevision())
		for _, ev := range res.Events {
			if next == nil {
				next = slices.Clone(v.instances)
			}
			next = v.apply(next, ev)
		}
		select {
		case res, ok = <-more:
			continue
		default:
		}
		if next == nil || slices.Equal(next, v.instances) {
			return false, nil
		}
		v.instances = next
		return true, nil
	}
}

// apply decodes the one value that changed.
func (v *view) apply(instances []*resolver.Instance, ev *clientv3.Event) []*resolver.Instance {
	id := strings.TrimPrefix(string(ev.Kv.GetKey()), v.dir)
	var inst *resolver.Instance // none after a delete, or of a value that is not ours
	if ev.Type == clientv3.EventTypePut {
		inst = v.read(ev.Kv)
	}
	at, found := slices.BinarySearchFunc(instances, id, func(i *resolver.Instance, id string) int { return strings.Compare(i.ID, id) })
	switch {
	case found && inst == nil:
		return slices.Delete(instances, at, at+1)
	case found && !instances[at].Equal(inst):
		instances[at] = inst
	case !found && inst != nil:
		return slices.Insert(instances, at, inst)
	}
	return instances
}

// compare asks etcd whether its store is still the one that was listed.
func (v *view) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, v.r.timeout)
	defer cancel()
	res, err := v.r.client.Get(ctx, v.dir, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return nil // etcd is away: the watch finds out, and what is known stays
	}
	if res.Header.GetClusterId() != v.cluster || res.Header.GetRevision() < v.revision {
		return fmt.Errorf("the store was replaced: it was cluster %x at revision %d, and is %x at %d", v.cluster, v.revision, res.Header.GetClusterId(), res.Header.GetRevision())
	}
	return nil
}
