package peer

import (
	"maps"
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets that are at most 1/32 wide. It is
// small and in shards: neither the garbage collector nor the callers shall
// notice it.
type histogram [8]struct {
	buckets [steps * 40]atomic.Uint32
}

const steps = 32 // a power of two

func (h *histogram) add(caller int, d time.Duration) {
	h[caller%len(h)].buckets[bucket(d)].Add(1)
}

func bucket(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < steps {
		return int(n)
	}
	octave := bits.Len64(n) - bits.Len64(steps)
	return min(octave*steps+int(n>>octave), steps*40-1)
}

// upper returns the end of a bucket.
func upper(bucket int) time.Duration {
	if bucket < steps {
		return time.Duration(bucket)
	}
	octave := bucket/steps - 1
	return time.Duration((bucket-octave*steps+1)<<octave - 1)
}

// times returns the counts of the buckets that are not empty.
func (h *histogram) times() Times {
	out := make(Times)
	for i := range h {
		for b := range h[i].buckets {
			if n := h[i].buckets[b].Load(); n > 0 {
				out[b] += uint64(n)
			}
		}
	}
	return out
}

// Times has how many calls took how long: the count by bucket.
type Times map[int]uint64

// Add adds other's counts.
func (t Times) Add(other Times) {
	for b, n := range other {
		t[b] += n
	}
}

// Quantile returns a duration that the fraction q of all did not exceed.
func (t Times) Quantile(q float64) time.Duration {
	total, seen := uint64(0), uint64(0)
	for _, n := range t {
		total += n
	}
	want := uint64(math.Ceil(q * float64(total)))
	for _, b := range slices.Sorted(maps.Keys(t)) {
		if seen += t[b]; seen >= want {
			return upper(b)
		}
	}
	return 0
}
