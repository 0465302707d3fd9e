package etcd

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver"
)

// view is what one watch has seen.
type view struct {
	r         *Registry
	dir       string // of the service, with the slash
	service   string
	instances []*resolver.Instance // sorted by ID; replaced by each change and never written
	keys      map[string]int64     // the end of each key under dir, readable or not: the revision of its value
	cluster   uint64
	revision  int64  // of the store, when it was last heard of
	doubt     *found // a difference between the store and this view, which may be a change on its way
	doubts    int    // checks that found one since the last event behind one
}

func newView(r *Registry, service string) *view {
	return &view{r: r, dir: r.dir(service), service: service, keys: make(map[string]int64)}
}

// list fills the view.
func (v *view) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, v.r.timeout) // that of ctx is for the watch
	defer cancel()
	call, err := v.r.begin(ctx, "list "+v.service)
	if err != nil {
		return err
	}
	defer call.end()
	v.r.outages.follow(v.r)
	res, err := v.r.client.Get(call.ctx, v.dir, clientv3.WithPrefix())
	if err != nil {
		return call.failed(err)
	}
	v.cluster, v.revision = res.Header.GetClusterId(), res.Header.GetRevision()
	v.instances = make([]*resolver.Instance, 0, len(res.Kvs))
	for _, kv := range res.Kvs { // in the order of the keys, and so of the IDs
		id := v.id(kv)
		v.keys[id] = kv.GetModRevision()
		if inst := v.read(id, kv); inst != nil {
			v.instances = append(v.instances, inst)
		}
	}
	return nil
}

// follow begins to watch what happens after the list.
func (v *view) follow(ctx context.Context) (events clientv3.WatchChan, stream int64) {
	ctx, stream = v.r.streams.on(clientv3.WithRequireLeader(ctx))
	return v.r.client.Watch(ctx, v.dir, clientv3.WithPrefix(), clientv3.WithRev(v.revision+1)), stream
}

func (v *view) id(kv *mvccpb.KeyValue) string { return strings.TrimPrefix(string(kv.GetKey()), v.dir) }

// read returns the instance in kv, or nil if there is none, which is noted.
func (v *view) read(id string, kv *mvccpb.KeyValue) *resolver.Instance {
	inst, err := decode(v.service, id, kv.GetValue())
	if err != nil {
		if key := v.dir + id; v.r.skipped.add(key, kv.GetModRevision()) {
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
			if err := v.settle(ev.Kv.GetModRevision()); err != nil {
				return false, err
			}
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
	id := v.id(ev.Kv)
	var inst *resolver.Instance // none after a delete, or of a value that is not ours
	if ev.Type == clientv3.EventTypePut {
		v.keys[id] = ev.Kv.GetModRevision()
		inst = v.read(id, ev.Kv)
	} else {
		delete(v.keys, id)
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
