package etcd

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver"
)

// The value is the contract with other programs, so it is fuzzed by itself.
var (
	Encode = encode
	Decode = decode
)

// Received is tested with a watch that etcd's client does not close, which it does
// only when thousands end at once.
var Received = received

// CompareEvery is what a test of a replaced store cannot wait for.
func CompareEvery(d time.Duration) Option { return func(r *Registry) { r.compare = d } }

// LongOutage is for tests of outages that a busy machine makes longer, or whose
// end nobody can time.
func LongOutage(d time.Duration) Option { return func(r *Registry) { r.outage = d } }

// Misled returns what the checks of a watch come to that believes in a key which
// is not there, and after how many of them.
func Misled(ctx context.Context, r *Registry, service string) (checks int, err error) {
	v := newView(r, service)
	if err := v.list(ctx); err != nil {
		return 0, err
	}
	v.keys["ghost"] = v.revision
	for err == nil && ctx.Err() == nil {
		checks++
		_, err = v.check(ctx, false)
	}
	return checks, err
}

// Viewer returns what a watch of insts does about one put, and how many
// instances it then has. The insts must be sorted by ID.
func Viewer(insts []*resolver.Instance) func(id, value string) (int, error) {
	v := newView(&Registry{prefix: "p"}, "svc")
	v.instances = insts
	return func(id, value string) (int, error) {
		ev := &clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte(v.dir + id), Value: []byte(value)}}
		_, err := v.take(clientv3.WatchResponse{Events: []*clientv3.Event{ev}}, true, nil)
		return len(v.instances), err
	}
}
