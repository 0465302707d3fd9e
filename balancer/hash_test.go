package balancer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/metadata"

	"github.com/grpc-micro/micro/balancer"
)

// Over real servers: a key keeps its server, by either way to say it, and for
// every client.
func TestHashKeepsKeysTogether(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	const config = `{"micro_consistent_hash":{"header":"X-User"}}`
	one := dial(t, config, a.instance("a"), b.instance("b"), c.instance("c"))
	two := dial(t, config, c.instance("c"), b.instance("b"), a.instance("a"))
	one.warm(t, a, b, c)
	two.warm(t, a, b, c)
	used := map[*server]bool{}
	for k := range 20 {
		key := fmt.Sprint("user ", k)
		for _, s := range []*server{a, b, c} {
			s.calls.Store(0)
		}
		for n := range 6 {
			ctx := balancer.WithHashKey(deadline(t), key)
			if n%2 == 0 {
				ctx = metadata.AppendToOutgoingContext(deadline(t), "x-user", key)
			}
			if err := []*channel{one, two}[n%2].call(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []*server{a, b, c} {
			switch s.calls.Load() {
			case 0:
			case 6:
				used[s] = true
			default:
				t.Errorf("%s: %d of 6 calls at one server", key, s.calls.Load())
			}
		}
	}
	if len(used) != 3 {
		t.Errorf("20 keys used %d of 3 servers", len(used))
	}
}

// owners returns where each key goes.
func owners(t *testing.T, picks *picks, keys int) []string {
	t.Helper()
	owners := make([]string, keys)
	for k := range owners {
		owners[k] = picks.nextFor(t, balancer.WithHashKey(context.Background(), fmt.Sprint("key ", k)))
	}
	return owners
}

// When 1 of 100 leaves, its keys move and no others; when it is back, so are
// they; and the order in which the registry has them means nothing.
func TestHashMovesFewKeys(t *testing.T) {
	t.Parallel()
	const keys = 20_000
	insts := fleet(100)
	picks := newPicks(t, balancer.Hash, `{}`, insts)
	before := owners(t, picks, keys)
	picks.update(slices.Delete(slices.Clone(insts), 42, 43))
	moved, foreign := 0, 0
	for k, owner := range owners(t, picks, keys) {
		if owner == before[k] {
			continue
		}
		moved++
		if before[k] != insts[42].Addrs[0] {
			foreign++
		}
	}
	t.Logf("1 of 100 instances left: %.2f %% of keys moved", 100*float64(moved)/keys)
	if foreign != 0 || moved > keys*15/1000 || moved < keys*5/1000 {
		t.Errorf("%d of %d keys moved, %d of them from others; want about 1 %% and 0", moved, keys, foreign)
	}
	shuffled := slices.Clone(insts)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	picks.updateAndConnect(shuffled, 1)
	if after := owners(t, picks, keys); !slices.Equal(before, after) {
		t.Error("with the same instances, keys are elsewhere")
	}
}

func TestHashIsEven(t *testing.T) {
	t.Parallel()
	for _, n := range []int{10, 100, 1000} {
		keys := 500 * n
		load := map[string]int{}
		for _, owner := range owners(t, newPicks(t, balancer.Hash, `{}`, fleet(n)), keys) {
			load[owner]++
		}
		most := 0
		for _, l := range load {
			most = max(most, l)
		}
		t.Logf("%d instances: the busiest has %.2f times the mean", n, float64(most*n)/float64(keys))
		if most*n > keys*14/10 { // 1.25 by the points, the rest by the keys' own chance
			t.Errorf("%d instances: the busiest has %d of %d keys", n, most, keys)
		}
	}
}

// One key has all calls. They go to one instance as long as it has room, then
// to the key's second one, and none has more than its bound.
func TestHashBoundsLoad(t *testing.T) {
	t.Parallel()
	const n, calls = 10, 1000
	cc, b, _ := bringUp(t, balancer.Hash, `{"loadFactor":1.5}`, fleet(n))
	defer b.Close()
	load := map[string]int{}
	var done []func(grpcbalancer.DoneInfo)
	settle(t, cc, n)
	p, _ := cc.latest()
	info := grpcbalancer.PickInfo{Ctx: balancer.WithHashKey(context.Background(), "hot")}
	for call := range calls {
		res, err := p.Pick(info)
		if err != nil {
			t.Fatal(err)
		}
		load[res.SubConn.(*fakeSub).addr]++
		done = append(done, res.Done)
		if call == 3 && len(load) != 1 {
			t.Errorf("%d instances for the first 4 calls of a key, want 1", len(load))
		}
	}
	for addr, l := range load {
		if l > calls*15/10/n+1 {
			t.Errorf("%s has %d calls of %d, want 1.5 times the mean at most", addr, l, calls)
		}
	}
	for _, d := range done {
		d(grpcbalancer.DoneInfo{BytesReceived: true})
	}
	first, _ := p.Pick(info)
	first.Done(grpcbalancer.DoneInfo{BytesReceived: true})
	second, _ := p.Pick(info)
	second.Done(grpcbalancer.DoneInfo{BytesReceived: true})
	if first.SubConn != second.SubConn {
		t.Error("when all calls are done, the key does not go home")
	}
}
