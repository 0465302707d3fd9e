package balancer_test

import (
	"fmt"
	"testing"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/resolver"
)

func weight(w uint32) func(*resolver.Instance) { return func(i *resolver.Instance) { i.Weight = w } }

// Over real servers, and by a wide margin better than chance: of 1,000 random
// picks the middle one would be within 3 of its 300 in one run of six.
func TestWeightedIsInProportion(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	ch := dial(t, `{"micro_weighted":{}}`, a.instance("a", weight(5)), b.instance("b", weight(3)), c.instance("c", weight(2)))
	ch.warm(t, a, b, c)
	for range 1000 {
		if err := ch.call(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []struct {
		server *server
		want   int64
	}{{a, 500}, {b, 300}, {c, 200}} {
		if n := s.server.calls.Load(); n < s.want-3 || n > s.want+3 {
			t.Errorf("%d calls, want %d, give or take 3", n, s.want)
		}
	}
}

// An instance with a tenth of the weight gets one of about ten calls, and never
// waits for long, nor gets two in a row.
func TestWeightedIsSmooth(t *testing.T) {
	t.Parallel()
	insts := fleet(3)
	insts[0].Weight, insts[1].Weight, insts[2].Weight = 1, 6, 3
	picks := newPicks(t, balancer.Weighted, `{}`, insts)
	last := 0
	for n := 1; n <= 10_000; n++ {
		if picks.next(t) != insts[0].Addrs[0] {
			continue
		}
		if gap := n - last; last != 0 && (gap < 5 || gap > 16) {
			t.Fatalf("pick %d is %d after the one before, want about 10", n, gap)
		}
		last = n
	}
}

// The set changes after every seventh call, and each instance still has its
// share: a scheduler that began anew each time would always begin with the
// heaviest.
func TestWeightedSurvivesChanges(t *testing.T) {
	t.Parallel()
	insts := fleet(4)
	for i, w := range []uint32{100, 10, 10, 10} {
		insts[i].Weight = w
	}
	picks := newPicks(t, balancer.Weighted, `{}`, insts)
	const n = 13_000
	seen := map[string]int{}
	for i := range n {
		if i%7 == 0 {
			other := insts[3].Clone()
			other.Version = fmt.Sprint(i)
			picks.update([]*resolver.Instance{insts[0], insts[1], insts[2], other})
		}
		seen[picks.next(t)]++
	}
	for i, want := range []int{10_000, 1000, 1000, 1000} {
		if got := seen[insts[i].Addrs[0]]; got < want*85/100 || got > want*115/100 {
			t.Errorf("instance %d got %d of %d calls, want %d, give or take 15 %%", i, got, n, want)
		}
	}
}
