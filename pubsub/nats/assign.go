package nats

import (
	"hash/fnv"
	"slices"
	"strconv"
)

// assign says which member is to have each of n partitions. Every member works
// it out by itself, so it depends on the names alone. All get the same number, or
// one more; a partition goes to the member that it scores highest among those
// that still have room (rendezvous hashing), so that few of them move when a
// member comes or goes.
func assign(n int, members []string) []string {
	owners := make([]string, n)
	if len(members) == 0 {
		return owners
	}
	members = slices.Sorted(slices.Values(members))
	room := make(map[string]int, len(members))
	more := n % len(members)
	for _, m := range members {
		room[m] = n / len(members)
	}
	for p := range owners {
		best, most := "", uint64(0)
		for _, m := range members {
			if room[m] > 0 || room[m] == 0 && more > 0 {
				if s := score(m, p); best == "" || s > most {
					best, most = m, s
				}
			}
		}
		if room[best] == 0 {
			more--
		}
		room[best]--
		owners[p] = best
	}
	return owners
}

func score(member string, partition int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(member))
	_, _ = h.Write([]byte{'/'})
	_, _ = h.Write([]byte(strconv.Itoa(partition)))
	// FNV's last bytes hardly reach its upper bits: mix them.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}
