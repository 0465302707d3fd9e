package mdns_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/mdns"
)

// BenchmarkChange is the time from an update in one registry to the snapshot in
// another, at a number of instances.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{3, 300} {
		b.Run(fmt.Sprint("instances=", n), func(b *testing.B) {
			at := domain()
			r, far := open(b, at, mdns.WithTTL(never)), open(b, at, mdns.WithQueryInterval(never))
			insts := make([]*resolver.Instance, n)
			for i := range insts {
				insts[i] = instance(fmt.Sprintf("id-%04d", i))
			}
			changing := instance("a")
			reg := register(b, r, changing)
			register(b, r, insts...)
			next := make(chan struct{})
			var weight atomic.Uint32
			go func() {
				defer close(next)
				for snapshot, err := range far.Watch(b.Context(), "svc") {
					if err == nil && len(snapshot) == n+1 && snapshot[0].Weight == weight.Load() {
						next <- struct{}{}
					}
				}
			}()
			<-next
			b.ReportAllocs()
			for b.Loop() {
				changing = changing.Clone()
				changing.Weight = weight.Add(1)
				if err := reg.Update(b.Context(), changing); err != nil {
					b.Fatal(err)
				}
				<-next
			}
			if err := far.Close(); err != nil { // ends the watch
				b.Fatal(err)
			}
			select {
			case <-next:
			case <-time.After(patience):
				b.Fatal("the watch goes on after Close")
			}
		})
	}
}

// BenchmarkUnpack reads a packet of several instances.
func BenchmarkUnpack(b *testing.B) {
	packets, err := mdns.Pack("local", instance("a"), instance("b"), instance("c"))
	if err != nil || len(packets) != 1 {
		b.Fatal(len(packets), err)
	}
	b.SetBytes(int64(len(packets[0])))
	b.ReportAllocs()
	for b.Loop() {
		if insts, _, err := mdns.Unpack("local", packets[0]); err != nil || len(insts) != 3 {
			b.Fatal(insts, err)
		}
	}
}
