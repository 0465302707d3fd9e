package etcd_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/etcd"
	"github.com/grpc-micro/micro/resolver/resolvertest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	resolvertest.Run(t, func(t *testing.T) resolver.Registry { return open(t) })
}

func TestDrainingKeepsTheLease(t *testing.T) {
	t.Parallel()
	r := open(t)
	reg := r.register(instance("a"))
	w := r.watch()
	w.wait("a")
	_, before := r.get("svc/a")
	drained := instance("a")
	drained.Draining = true
	if err := reg.Update(deadline(t), drained); err != nil {
		t.Fatal(err)
	}
	w.wait("a draining")
	if _, after := r.get("svc/a"); after != before {
		t.Errorf("the lease changed from %x to %x", before, after)
	}
}

// A key that somebody deletes by hand comes back.
func TestDeletedKeyComesBack(t *testing.T) {
	t.Parallel()
	r := open(t)
	other := instance("a")
	other.Service = "other.v1.Name"
	r.announce(instance("a"), other)
	w := r.watch()
	w.wait("a")
	_, before := r.get("svc/a")
	r.delete("svc/a")
	wait.Until(t, "the key to come back on another lease", func() bool {
		res, err := r.client.Get(deadline(t), r.prefix+"/svc/a")
		return err == nil && len(res.Kvs) == 1 && clientv3.LeaseID(res.Kvs[0].GetLease()) != before
	})
	w.wait("a")
	r.get("other.v1.Name/a") // is where it was
}

func TestExpiredLeaseComesBack(t *testing.T) {
	t.Parallel()
	r := open(t)
	r.announce(instance("a"), instance("b"))
	w := r.watch()
	w.wait("a, b")
	for range 3 {
		_, before := r.get("svc/b")
		if !r.Expire("svc", "a") {
			t.Fatal("a is not there")
		}
		wait.Until(t, "both to come back", func() bool {
			res, err := r.client.Get(deadline(t), r.prefix+"/svc/", clientv3.WithPrefix())
			return err == nil && len(res.Kvs) == 2 && clientv3.LeaseID(res.Kvs[1].GetLease()) != before
		})
		w.wait("a, b")
	}
}

// What is lost must not be renewed for ever: the lease ends, also if nobody
// revokes it.
func TestLostLeaseEnds(t *testing.T) {
	t.Parallel()
	r := open(t, etcd.WithTTL(4*time.Second))
	reg := r.register(instance("a"), instance("b"))
	_, lease := r.get("svc/b")
	r.delete("svc/a")
	<-reg.Lost()
	mention(t, "Update", reg.Update(deadline(t), instance("a"), instance("b")), "register again")
	wait.Until(t, "the lease to end", func() bool {
		ttl, err := r.client.TimeToLive(deadline(t), lease)
		return err == nil && ttl.TTL < 0
	})
	if err := reg.Deregister(deadline(t)); err != nil {
		t.Errorf("Deregister after the lease has ended: %v", err)
	}
}

// Two processes by one name do not fight for it, and whichever is left has it.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	r := open(t)
	mine := r.register(instance("a"))
	theirs := r.register(instance("a"))
	mention(t, "Update", mine.Update(deadline(t), instance("a")), "register again", "/svc/a")
	if isLost(mine) {
		t.Error("what was taken over is lost, and so both would fight for it")
	}
	if err := theirs.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-mine.Lost():
	case <-time.After(patience):
		t.Error("who had taken it over has gone, and the name stays free")
	}
}

// A key that goes between the first transaction of a Register and the last must
// not go unnoticed, nor one be taken for lost that went before it was put.
func TestManyKeysAreGuarded(t *testing.T) {
	t.Parallel()
	r := open(t)
	insts := make([]*resolver.Instance, 200)
	for i := range insts {
		insts[i] = instance(fmt.Sprintf("%03d", i))
	}
	earlier := r.register(insts[199])
	reg := r.register(insts...)
	if err := earlier.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	r.register(instance("marker"))
	r.watch().wait("000, " + strings.Join(ids(insts[1:]), ", ") + ", marker")
	if isLost(reg) {
		t.Fatal("lost")
	}
	r.delete("svc/000")
	<-reg.Lost()
}

func ids(insts []*resolver.Instance) (ids []string) {
	for _, inst := range insts {
		ids = append(ids, inst.ID)
	}
	return ids
}

// What does not fit into one transaction is all there or not at all.
func TestFailedRegisterIsUndone(t *testing.T) {
	t.Parallel()
	r := open(t)
	insts := make([]*resolver.Instance, 130)
	for i := range insts {
		insts[i] = instance(fmt.Sprintf("%03d", i))
	}
	insts[129].Labels = map[string]string{"much": strings.Repeat("x", 4<<20)} // the second transaction is refused
	if _, err := r.Register(deadline(t), insts...); err == nil {
		t.Fatal("etcd takes 4 MiB")
	}
	res, err := r.client.Get(deadline(t), r.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || res.Count != 0 {
		t.Errorf("%d keys are left, %v", res.Count, err)
	}
}

// A process has one stream of renewals and one of watches, however many
// services it has.
func TestStreamsAreShared(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards streams
	streams := make(map[string][]grpc.ClientStream)
	note := func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		stream, err := next(ctx, desc, cc, method, opts...)
		mu.Lock()
		defer mu.Unlock()
		streams[method] = append(streams[method], stream)
		return stream, err
	}
	r := openOn(t, connect(t, nil, grpc.WithChainStreamInterceptor(note)), prefix())
	for i := range 100 {
		r.register(instance(fmt.Sprintf("%03d", i)))
	}
	for range 10 {
		w := r.watch()
		wait.Until(t, "the first snapshot", func() bool { return w.String() != "" })
	}
	r.delete("svc/099")
	for _, method := range []string{"/etcdserverpb.Lease/LeaseKeepAlive", "/etcdserverpb.Watch/Watch"} {
		wait.Until(t, "one stream of "+method, func() bool { // there may be none for a moment, before it is opened
			mu.Lock()
			defer mu.Unlock()
			open := 0
			for _, stream := range streams[method] {
				if stream != nil && stream.Context().Err() == nil {
					open++
				}
			}
			if open > 1 {
				t.Fatalf("%d streams of %s, want 1", open, method)
			}
			return open == 1
		})
	}
}

func TestCloseWhileRegistering(t *testing.T) {
	t.Parallel()
	r := open(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			reg, err := r.Register(deadline(t), instance(fmt.Sprintf("%03d", i)))
			if err != nil {
				mention(t, "Register", err, "closed")
				return
			}
			<-reg.Lost()
		})
	}
	for range 3 {
		wg.Go(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
