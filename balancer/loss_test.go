package balancer_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/grpc-micro/micro/balancer"
)

var lost = grpcbalancer.SubConnState{ConnectivityState: connectivity.Idle}

// The first of many connections that are lost is out of the picker at once, the
// others a millisecond later together, and one that is back by then is in it.
func TestManyLostAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		insts := fleet(n)
		cc, b, _ := bringUp(t, balancer.RoundRobin, `{}`, insts)
		defer b.Close()
		time.Sleep(time.Second) // what was held back is published
		synctest.Wait()
		sub := func(i int) *fakeSub { return cc.sub(insts[i].Addrs[0]) }
		_, before := cc.latest()
		published := func(want int, without int) {
			t.Helper()
			p, pickers := cc.latest()
			if pickers-before != want {
				t.Errorf("%d pickers, want %d", pickers-before, want)
			}
			seen := picked(t, p, n)
			if len(seen) != n-without {
				t.Errorf("picks go to %d connections, want %d", len(seen), n-without)
			}
		}
		sub(0).listen(lost)
		published(1, 1)
		for i := 1; i < n-1; i++ {
			sub(i).listen(lost)
		}
		sub(5).up()
		if _, pickers := cc.latest(); pickers-before != 1 {
			t.Errorf("%d pickers before the millisecond is over, want 1", pickers-before)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		published(2, n-2)

		// One that is lost later is out at once again.
		time.Sleep(time.Millisecond)
		sub(5).listen(lost)
		published(3, n-1)
		sub(7).up()
		time.Sleep(time.Second)
		synctest.Wait()
		published(4, n-2)
	})
}

// picked are the connections that so many picks go to.
func picked(t *testing.T, p grpcbalancer.Picker, picks int) map[grpcbalancer.SubConn]bool {
	t.Helper()
	seen := make(map[grpcbalancer.SubConn]bool)
	for range picks {
		result, err := p.Pick(grpcbalancer.PickInfo{Ctx: t.Context()})
		if err != nil {
			t.Fatal(err)
		}
		seen[result.SubConn] = true
	}
	return seen
}

// BenchmarkLose is many connections that are lost at once.
func BenchmarkLose(b *testing.B) {
	for _, test := range []struct {
		policy string
		n      int
	}{{balancer.RoundRobin, 1000}, {"round_robin", 1000}, {balancer.RoundRobin, 10_000}} {
		b.Run(fmt.Sprintf("%s/%d", test.policy, test.n), func(b *testing.B) {
			insts := fleet(test.n)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				cc, lb, _ := bringUp(b, test.policy, `{}`, insts)
				b.StartTimer()
				for i := range insts {
					cc.sub(insts[i*7%len(insts)].Addrs[0]).listen(lost)
				}
				b.StopTimer()
				lb.Close()
				b.StartTimer()
			}
		})
	}
}
