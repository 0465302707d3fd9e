package etcd_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver/etcd"
)

var sizes = []int{3, 1_000, 10_000}

// BenchmarkRegisterToWatch is the time from Register until a watch in another
// process would yield the instance, among so many others, as a ratio to what
// bare etcd takes from a put until an event of it, measured in turns. A
// registration needs a lease, which is a write of its own, so there are two
// ratios: to a put, and to a grant and a put on the lease.
func BenchmarkRegisterToWatch(b *testing.B) {
	for _, n := range sizes {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			here, there := open(b), connect(b, nil)
			here.putAll(many(n - 1))
			ours := follow(b, openOn(b, there, here.prefix))
			bare := there.Watch(clientv3.WithRequireLeader(b.Context()), here.prefix+"/bare/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
			<-bare
			var put, grantPut, register time.Duration
			for i := 0; b.Loop(); i++ {
				key := fmt.Sprintf("%s/bare/%d", here.prefix, i)
				began := time.Now()
				here.put("bare/"+strconv.Itoa(i), bareValue)
				<-bare
				put += time.Since(began)

				began = time.Now()
				lease, err := here.client.Grant(b.Context(), 15)
				if err == nil {
					_, err = here.client.Put(b.Context(), key, bareValue, clientv3.WithLease(lease.ID))
				}
				if err != nil {
					b.Fatal(err)
				}
				<-bare
				grantPut += time.Since(began)

				began = time.Now()
				reg := here.register(instance("zzz"))
				<-ours
				register += time.Since(began)

				if err := reg.Deregister(b.Context()); err != nil {
					b.Fatal(err)
				}
				<-ours
				if _, err := here.client.Revoke(b.Context(), lease.ID); err != nil {
					b.Fatal(err)
				}
				<-bare
			}
			b.ReportMetric(float64(register)/float64(put), "x-put")
			b.ReportMetric(float64(register)/float64(grantPut), "x-grant+put")
			b.ReportMetric(float64(register.Microseconds())/float64(b.N), "µs-register")
			b.ReportMetric(float64(put.Microseconds())/float64(b.N), "µs-put")
		})
	}
}

const bareValue = `{"Op":0,"Addr":"127.0.0.1:80","Metadata":{}}`

// follow returns where the number of instances is sent at each snapshot but the
// first.
func follow(b *testing.B, r *registry) <-chan int {
	b.Helper()
	seen, ready := make(chan int), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		first := true
		for snapshot := range r.Watch(ctx, "svc") {
			if first {
				first = false
				close(ready)
				continue
			}
			select {
			case seen <- len(snapshot):
			case <-ctx.Done():
			}
		}
	}()
	b.Cleanup(func() { cancel(); <-done })
	<-ready
	return seen
}

// BenchmarkUpdateToWatch is one change, from Update until another client's watch
// yields it, and what that client reads from etcd for it.
func BenchmarkUpdateToWatch(b *testing.B) {
	for _, n := range sizes {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var traffic received
			here := open(b)
			insts := many(n)
			here.putAll(insts[:n-1])
			reg := here.register(insts[n-1])
			seen := follow(b, openOn(b, connect(b, nil, traffic.option()), here.prefix))
			before := traffic.bytes()
			for i := 0; b.Loop(); i++ {
				next := insts[n-1].Clone()
				next.Weight = uint32(i + 1)
				if err := reg.Update(b.Context(), next); err != nil {
					b.Fatal(err)
				}
				<-seen
			}
			b.ReportMetric(float64(traffic.bytes()-before)/float64(b.N), "wire-B/op")
		})
	}
}

// BenchmarkChange is what one change costs a watch among so many instances,
// without etcd: one value is decoded, and one slice of pointers copied.
func BenchmarkChange(b *testing.B) {
	for _, n := range sizes {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			insts := many(n)
			put := etcd.Viewer(insts)
			values := [2]string{}
			for i := range values {
				inst := insts[n/2].Clone()
				inst.Weight = uint32(i + 1)
				value, err := etcd.Encode(inst)
				if err != nil {
					b.Fatal(err)
				}
				values[i] = value
			}
			id := insts[n/2].ID
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if got, err := put(id, values[i%2]); err != nil || got != n {
					b.Fatal(got, err)
				}
			}
		})
	}
}
