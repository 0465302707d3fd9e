package peer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	t.Parallel()
	var h histogram
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(rand.Int64N(1 << rand.N(36)))
		all = append(all, d)
		h.add(i, d)
	}
	slices.Sort(all)
	times := h.times()
	for _, q := range []float64{0.5, 0.99, 0.999, 1} {
		want := all[int(q*float64(len(all)))-1]
		if got := times.Quantile(q); got < want || got > want+want/(steps-1)+1 {
			t.Errorf("quantile %v: %v, want %v or a little more", q, got, want)
		}
	}
	if got := (Times{}).Quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
}

func TestTimesOfSlicesAdd(t *testing.T) {
	t.Parallel()
	sum := Times{3: 1}
	sum.Add(Times{3: 1, 5: 2})
	if sum[3] != 2 || sum[5] != 2 || sum.Quantile(0.5) != 3 || sum.Quantile(0.75) != 5 {
		t.Errorf("%v", sum)
	}
}
