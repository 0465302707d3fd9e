package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver"
)

var _ resolver.Editor = (*Registry)(nil)

// Edit implements resolver.Editor: what is registered together is what hangs on
// one lease. It blocks on etcd: for at most 5 s, if ctx has no deadline. Beyond
// 128 names on one lease it is no longer all or nothing.
func (r *Registry) Edit(ctx context.Context, service, id string, change func(*resolver.Instance)) error {
	if err := resolver.ValidateService(service); err != nil {
		return err
	}
	call, err := r.begin(ctx, fmt.Sprintf("edit %s of %s", id, service))
	if err != nil {
		return err
	}
	defer call.end()
	kvs, err := r.together(call.ctx, r.key(service, id))
	if err != nil {
		return call.failed(err)
	}
	insts := make([]*resolver.Instance, len(kvs))
	for i, kv := range kvs {
		if insts[i], err = r.decodeKey(kv); err != nil {
			return call.failed(fmt.Errorf("%s: %w", kv.GetKey(), err))
		}
	}
	next, err := resolver.Edited(insts, change)
	if err != nil {
		return call.failed(err)
	}
	entries, err := r.entries(next)
	if err != nil {
		return call.failed(err)
	}
	for at := 0; at < len(kvs); at += maxOps {
		end := min(at+maxOps, len(kvs))
		if err := r.replace(call.ctx, kvs[at:end], entries[at:end]); err != nil {
			return call.failed(err)
		}
	}
	return nil
}

// together returns a key and those that hang on the same lease.
func (r *Registry) together(ctx context.Context, key string) ([]*mvccpb.KeyValue, error) {
	res, err := r.client.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if len(res.Kvs) == 0 {
		return nil, errors.New("there is no such instance")
	}
	lease := clientv3.LeaseID(res.Kvs[0].GetLease())
	if lease == clientv3.NoLease { // of a program that needs none
		return res.Kvs, nil
	}
	attached, err := r.client.TimeToLive(ctx, lease, clientv3.WithAttachedKeys())
	if err != nil {
		return nil, err
	}
	var ops []clientv3.Op
	for _, k := range attached.Keys {
		if strings.HasPrefix(string(k), r.prefix+"/") {
			ops = append(ops, clientv3.OpGet(string(k)))
		}
	}
	var kvs []*mvccpb.KeyValue
	for chunk := range slices.Chunk(ops, maxOps) {
		got, err := r.client.Txn(ctx).Then(chunk...).Commit()
		if err != nil {
			return nil, err
		}
		for _, one := range got.Responses {
			for _, kv := range one.GetResponseRange().GetKvs() {
				if clientv3.LeaseID(kv.GetLease()) == lease {
					kvs = append(kvs, kv)
				}
			}
		}
	}
	if len(kvs) == 0 {
		return nil, errors.New("it ended just now")
	}
	return kvs, nil
}

// replace writes entries in the place of kvs, if nobody else has since.
func (r *Registry) replace(ctx context.Context, kvs []*mvccpb.KeyValue, entries []entry) error {
	unchanged, puts := make([]clientv3.Cmp, len(kvs)), make([]clientv3.Op, len(kvs))
	for i, kv := range kvs {
		unchanged[i] = clientv3.Compare(clientv3.ModRevision(string(kv.GetKey())), "=", kv.GetModRevision())
		puts[i] = clientv3.OpPut(entries[i].key, entries[i].value, clientv3.WithIgnoreLease())
	}
	res, err := r.client.Txn(ctx).If(unchanged...).Then(puts...).Commit()
	if err != nil {
		return err
	}
	if !res.Succeeded {
		return errors.New("it was changed by someone else just now: look at it, and try again")
	}
	return nil
}

// decodeKey reads an instance of any service.
func (r *Registry) decodeKey(kv *mvccpb.KeyValue) (*resolver.Instance, error) {
	service, id, _ := strings.Cut(strings.TrimPrefix(string(kv.GetKey()), r.prefix+"/"), "/")
	return decode(service, id, kv.GetValue())
}
