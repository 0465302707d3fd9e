package balancer

import (
	"encoding/json"
	"slices"

	"google.golang.org/grpc/connectivity"
)

// subsetConfig bounds how many instances a client connects to.
//
// Which ones is decided by rendezvous hashing: each client ranks all instances
// by a hash of the two, and takes the first ones. So instances that come or go
// cost a client a connection only if they are, or were, among its first; and
// over many clients, instances have the same number of them, but for chance.
type subsetConfig struct {
	Size int `json:"size"`

	// Key is the client's name among its like. Without one it is any: that
	// spreads as well, and differs after a restart.
	Key string `json:"key"`
}

func parseSubset(c *config, raw json.RawMessage) error {
	s := &subsetConfig{}
	if err := ParseStrict(raw, s); err != nil {
		return err
	}
	c.subset = s
	return within("size", s.Size, 1, 1<<20)
}

// seed is the client's part in the hash.
func (b *endpointSet) seed() uint64 {
	if s := b.config.subset; s != nil && s.Key != "" {
		return hash(s.Key)
	}
	return b.name
}

// mayJoin reports whether an endpoint can be in the subset at all. What drains
// or what the channel's filter drops cannot be picked, or not for long; it gets
// no connection, but keeps one that it has.
func (b *endpointSet) mayJoin(e *Endpoint) bool {
	return (b.config.filter == nil || b.config.filter.match(e.Instance())) && (b.config.subset == nil || !e.draining())
}

// floor returns the rank from which on endpoints are in the subset: so many that
// have not failed, and those that have and rank as high. It needs b.mu.
func (b *endpointSet) floor() uint64 {
	s := b.config.subset
	if s == nil {
		return 0
	}
	top := make([]uint64, 0, s.Size+1) // the highest ranks, the highest first
	for _, e := range b.all {
		if !b.mayJoin(e) || e.state() == connectivity.TransientFailure || len(top) == s.Size && e.rank < top[s.Size-1] {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, e.rank, func(a, b uint64) int {
			if a > b {
				return -1
			}
			return 1
		})
		top = slices.Insert(top, at, e.rank)
		top = top[:min(len(top), s.Size)]
	}
	if len(top) < s.Size {
		return 0
	}
	return top[s.Size-1]
}

// joinSubset lets the endpoints connect that are to. It needs b.mu.
func (b *endpointSet) joinSubset() {
	floor := b.floor()
	for _, e := range b.all {
		if !e.joined.Load() && e.rank >= floor && b.mayJoin(e) {
			b.join(e)
		}
	}
}

// join needs b.mu.
func (b *endpointSet) join(e *Endpoint) {
	e.joined.Store(true)
	b.states[connectivity.Idle]++
	b.dials.add(e)
}

// leaveSubset returns the endpoints that others have taken the place of. In
// their stead there are new ones, which know nothing yet. It needs b.mu.
func (b *endpointSet) leaveSubset() (gone []*Endpoint) {
	floor := b.floor()
	if floor == 0 {
		return nil
	}
	for i, e := range b.all {
		if !e.joined.Load() || e.onDemand || e.rank >= floor || !b.mayJoin(e) {
			continue
		}
		fresh := newEndpoint(b, e.addresses)
		fresh.instance.Store(e.Instance())
		fresh.update = b.update
		b.all[i] = fresh
		b.endpoints[addressKey(e.addresses)] = fresh
		b.remove(e)
		gone = append(gone, e)
	}
	return gone
}

// joinOnDemand lets those of the endpoints connect that rank highest: calls have
// nowhere else to go. It needs b.mu.
func (b *endpointSet) joinOnDemand(wanted []*Endpoint) {
	slices.SortFunc(wanted, func(a, b *Endpoint) int {
		if a.rank > b.rank {
			return -1
		}
		return 1
	})
	most := urgentDials
	if s := b.config.subset; s != nil { // as it was when the picker was published
		most = min(most, s.Size)
	}
	for _, e := range wanted[:min(len(wanted), most)] {
		if !e.joined.Load() && !e.removed {
			b.join(e)
			e.onDemand = true
		}
	}
}
