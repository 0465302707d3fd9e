package balancer

import (
	"encoding/json"
	"math"
	"math/bits"

	grpcbalancer "google.golang.org/grpc/balancer"
)

func init() {
	Register(Weighted, func(raw json.RawMessage) (Policy, error) {
		return weighted, ParseStrict(raw, &struct{}{})
	})
}

// golden is 2^64 divided by the golden ratio. Its multiples, modulo 2^64, fall
// as evenly as any sequence can, whichever part of it one looks at.
const golden = 0x9e3779b97f4a7c15

// weighted gives each endpoint a stretch of the numbers below 2^64, as long as
// its weight, and walks over them in steps of golden: each is met in proportion
// to its weight and as evenly as that can be, from whatever number the walk
// begins. So a picker that lives for ten calls only spreads them as the one
// before it did, with nothing to hand over.
func weighted(ready []*Endpoint) Picker {
	total, sum := 0.0, 0.0
	for _, e := range ready {
		total += e.weight()
	}
	ends := make([]uint64, len(ready)) // where the stretches end
	for i, e := range ready {
		sum += e.weight()
		ends[i] = math.MaxUint64
		if end := sum / total * (1 << 64); end < 1<<64 {
			ends[i] = uint64(end)
		}
	}
	index := newIndex(ends)
	calls := newCounter()
	return func(grpcbalancer.PickInfo) *Endpoint { return ready[index.after(calls.take()*golden)] }
}

// index finds a number among sorted ones in a time that does not depend on how
// many they are, if they are spread evenly.
type index struct {
	sorted []uint64
	first  []uint32 // for each of len(sorted) equal parts of all numbers: the first in sorted that may be the answer
}

func newIndex(sorted []uint64) *index {
	x := &index{sorted: sorted, first: make([]uint32, len(sorted))}
	n, i := uint64(len(sorted)), 0
	for part := range n {
		start, _ := bits.Div64(part, 0, n)
		for i < len(sorted)-1 && sorted[i] <= start {
			i++
		}
		x.first[part] = uint32(i)
	}
	return x
}

// after returns the place of the first number greater than at or, if there is
// none, the last place.
func (x *index) after(at uint64) int {
	part, _ := bits.Mul64(at, uint64(len(x.first)))
	i := int(x.first[part])
	for i < len(x.sorted)-1 && x.sorted[i] <= at {
		i++
	}
	return i
}
