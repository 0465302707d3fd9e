package etcd_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/etcd"
	"github.com/grpc-micro/micro/resolver/resolvertest"
)

func startEtcd(t testing.TB, opts ...dev.Option) *dev.Etcd {
	t.Helper()
	e, err := dev.StartEtcd(deadline(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestConformanceOfThreeNodes(t *testing.T) {
	t.Parallel()
	e := startEtcd(t, dev.WithNodes(3))
	resolvertest.Run(t, func(t *testing.T) resolver.Registry { return openOn(t, connect(t, e.Endpoints()), prefix()) })
}

// Where the events that a watch still has to see are gone, it ends with an
// error, and the next one lists anew.
func TestCompaction(t *testing.T) {
	t.Parallel()
	e := startEtcd(t) // compacting the one of the other tests would end their watches, too
	direct := openOn(t, connect(t, e.Endpoints()), prefix())
	direct.register(instance("a"))
	proxy := newProxy(t, e.Endpoints()[0])
	r := openOn(t, connect(t, []string{proxy.addr()}), direct.prefix)
	w := r.watch()
	w.wait("a")
	proxy.cut()
	direct.register(instance("b"))
	res, err := direct.client.Put(deadline(t), direct.prefix+"/other", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.client.Compact(deadline(t), res.Header.GetRevision()); err != nil {
		t.Fatal(err)
	}
	proxy.heal()
	w.fails("etcd: watch svc") // etcd says so, or it is found out before
	r.watch().wait("a, b")
}

// A watch that was cut off for a moment, in which nothing happened, goes on.
func TestWatchResumes(t *testing.T) {
	t.Parallel()
	direct := open(t)
	direct.register(instance("a"))
	proxy := newProxy(t, servers[0])
	var checks atomic.Int64
	count := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if err == nil && method == "/etcdserverpb.KV/Txn" {
			checks.Add(1)
		}
		return err
	}
	r := openOn(t, connect(t, []string{proxy.addr()}, grpc.WithChainUnaryInterceptor(count)), direct.prefix, etcd.LongOutage(time.Hour))
	w := r.watch()
	w.wait("a")
	proxy.cut()
	proxy.heal()
	wait.Until(t, "the watch to find that nothing has changed", func() bool { return checks.Load() > 0 })
	direct.register(instance("b"))
	w.wait("a, b")
}

// If there were changes meanwhile, it ends, and the next one lists them at once.
func TestWatchMissesChanges(t *testing.T) {
	t.Parallel()
	direct := open(t)
	reg := direct.register(instance("a"))
	proxy := newProxy(t, servers[0])
	r := openOn(t, connect(t, []string{proxy.addr()}), direct.prefix, etcd.LongOutage(time.Hour))
	w := r.watch()
	w.wait("a")
	proxy.cut()
	if err := reg.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	direct.register(instance("a"))
	proxy.heal()
	w.fails("lost, and there were changes")
	r.watch().wait("a")
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.yields != 2 || len(w.last) != 1 {
		t.Errorf("%d yields, the last snapshot is %v: want that of a, and the error", w.yields, w.last)
	}
}

// etcd is cut off and comes back as another one, whose revisions begin anew: a
// watch from a later revision would wait for ever, without an error.
func TestReplacedStore(t *testing.T) {
	t.Parallel()
	first, second := startEtcd(t), startEtcd(t)
	proxy := newProxy(t, first.Endpoints()[0])
	r := openOn(t, connect(t, []string{proxy.addr()}), "p", etcd.LongOutage(time.Hour))
	r.register(instance("a"))
	w := r.watch()
	w.wait("a")
	openOn(t, connect(t, second.Endpoints()), "p").register(instance("b"))
	proxy.move(second.Endpoints()[0])
	w.fails("the store was replaced")
	r.watch().wait("b")
}

// A store that was wiped and set up again is the same cluster by its name. Where
// it has passed the revision of before, only what is in it tells.
func TestWipedStore(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]int{"low revision": 0, "high revision": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, 1)
			proxy := newProxy(t, c.endpoints()[0])
			r := openOn(t, connect(t, []string{proxy.addr()}), "p", etcd.CompareEvery(100*time.Millisecond))
			for range 10 {
				r.put("other", "")
			}
			r.put("svc/a", `{"Addr":"10.0.0.1:80"}`)
			w := r.watch()
			w.wait("a")
			before := get(t, r.client, "p/svc/a")
			proxy.mute() // for the client it is a moment
			c.kill(0)
			c.wipe(0)
			c.start(0)
			direct := openOn(t, connect(t, c.endpoints()), "p")
			for range after {
				direct.put("other", "")
			}
			direct.put("svc/b", `{"Addr":"10.0.0.1:80"}`)
			if res := get(t, direct.client, "p/svc/b"); res.Header.GetClusterId() != before.Header.GetClusterId() {
				t.Error("the cluster has another name")
			}
			proxy.heal()
			w.fails("etcd: watch svc")
			r.watch().wait("b")
		})
	}
}

func get(t testing.TB, client *clientv3.Client, key string) *clientv3.GetResponse {
	t.Helper()
	res, err := client.Get(deadline(t), key)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// A watch that believes in what is not there finds out, also without an outage.
func TestChecksFindADifference(t *testing.T) {
	t.Parallel()
	r := open(t)
	r.put("svc/a", `{"Addr":"10.0.0.1:80"}`)
	checks, err := etcd.Misled(deadline(t), r.Registry, "svc")
	mention(t, "check", err, "the store was replaced", "it has 1 keys, and here are 2")
	if checks != 5 {
		t.Errorf("after %d checks", checks)
	}
}

// While keys change all the time, the checks of a watch find no fault with it.
func TestChecksDuringChanges(t *testing.T) {
	t.Parallel()
	r := open(t, etcd.CompareEvery(time.Millisecond))
	w := r.watch()
	for range 30 {
		regs := make([]resolver.Registration, 10)
		for i := range regs {
			regs[i] = r.register(instance(fmt.Sprintf("%d", i)))
		}
		for _, reg := range regs {
			if err := reg.Deregister(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.register(instance("last"))
	w.wait("last")
}

// A watch whose etcd was away for long ends, so that whoever watches again knows
// that leases may have ended meanwhile for no fault of their services.
func TestWatchEndsAfterALongOutage(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, servers[0])
	r := openOn(t, connect(t, []string{proxy.addr()}), prefix())
	w := r.watch()
	wait.Until(t, "the first snapshot", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.yields > 0 })
	proxy.cut()
	pass(8 * time.Second) // of which a busy machine takes some to find out that it is away
	proxy.heal()
	w.fails("etcd was away for")
}

// An etcd without a quorum knows nothing new, and says so: otherwise its clients
// would wait for changes that the others have long seen.
func TestWatchOfAnEtcdWithoutQuorum(t *testing.T) {
	t.Parallel()
	e := startEtcd(t, dev.WithNodes(3))
	r := openOn(t, connect(t, e.Endpoints()[:1]), "p")
	r.register(instance("a"))
	w := r.watch()
	w.wait("a")
	e.StopNode(1)
	e.StopNode(2)
	w.fails("no leader")
}

// etcd is away, and on its data again, while services announce themselves and a
// client watches: the client keeps what it knew, and both are there after.
func TestRestart(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	r := openOn(t, connect(t, e.Endpoints()), "p", etcd.WithTTL(2*time.Second))
	r.announce(instance("a"))
	w := r.watchAnew() // b may come before the watch is back
	w.wait("a")
	e.StopNode(0)
	r.announce(instance("b"))
	if err := e.StartNode(deadline(t), 0); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "both to be there", func() bool {
		res, err := r.client.Get(deadline(t), "p/svc/", clientv3.WithPrefix())
		return err == nil && len(res.Kvs) == 2
	})
	w.wait("a, b")
}

// Each packet to and from etcd takes its time, and all works as ever.
func TestSlowEtcd(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, servers[0])
	proxy.slow(50 * time.Millisecond)
	r := openOn(t, connect(t, []string{proxy.addr()}), prefix(), etcd.WithTTL(5*time.Second))
	reg := r.register(instance("a"))
	w := r.watch()
	w.wait("a")
	drained := instance("a")
	drained.Draining = true
	if err := reg.Update(deadline(t), drained); err != nil {
		t.Fatal(err)
	}
	w.wait("a draining")
	if err := reg.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	w.wait("")
}

// A list is complete or an error, however large.
func TestWatchOfMany(t *testing.T) {
	t.Parallel()
	r := open(t)
	insts := many(3_000)
	for i := range insts { // together more than the 4 MiB that grpc receives by default
		insts[i].Labels = map[string]string{"text": strings.Repeat("x", 2<<10)}
	}
	r.putAll(insts)
	for snapshot, err := range r.Watch(deadline(t), "svc") {
		if err != nil || len(snapshot) != 3_000 {
			t.Errorf("%d instances, %v", len(snapshot), err)
		}
		break
	}
}

// putAll writes instances as if so many processes had registered them, without
// leases and what watches them.
func (r *registry) putAll(insts []*resolver.Instance) {
	r.t.Helper()
	for chunk := range slices.Chunk(insts, 128) {
		var ops []clientv3.Op
		for _, inst := range chunk {
			value, err := etcd.Encode(inst)
			if err != nil {
				r.t.Fatal(err)
			}
			ops = append(ops, clientv3.OpPut(r.prefix+"/svc/"+inst.ID, value))
		}
		if _, err := r.client.Txn(deadline(r.t)).Then(ops...).Commit(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// many returns n instances of svc, sorted by ID.
func many(n int) []*resolver.Instance {
	insts := make([]*resolver.Instance, n)
	for i := range insts {
		insts[i] = instance(fmt.Sprintf("%05d", i))
	}
	return insts
}

// One change among 10,000 instances must not bring the others over the wire, and
// their values must not be decoded.
func TestOneChangeAmongMany(t *testing.T) {
	t.Parallel()
	var traffic received
	servers := open(t)
	r := openOn(t, connect(t, nil, traffic.option()), servers.prefix)
	insts := many(10_000)
	servers.putAll(insts[1:])
	reg := servers.register(insts[0])
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	var before int64
	var first []*resolver.Instance
	for snapshot, err := range r.Watch(ctx, "svc") {
		switch {
		case err != nil:
			t.Fatal(err)
		case first == nil:
			first, before = snapshot, traffic.bytes()
			insts[0] = insts[0].Clone()
			insts[0].Weight = 2
			if err := reg.Update(ctx, insts[0]); err != nil {
				t.Fatal(err)
			}
		default:
			if n := traffic.bytes() - before; n > 1<<10 {
				t.Errorf("one change among %d instances makes the client read %d bytes", len(snapshot), n)
			}
			if snapshot[0].Weight != 2 || snapshot[0] == first[0] {
				t.Errorf("the change is not seen: %+v", snapshot[0])
			}
			for i := range snapshot[1:] {
				if snapshot[i+1] != first[i+1] {
					t.Fatalf("%s has another pointer", snapshot[i+1].ID)
				}
			}
			cancel()
		}
	}
}
