package balancer

import (
	"slices"

	grpcresolver "google.golang.org/grpc/resolver"
)

// move is a set of addresses that has changed in what is not the addresses.
type move struct {
	endpoint *Endpoint
	to       []grpcresolver.Address
}

// reconcile makes the endpoints those of the resolver. One whose addresses
// stay keeps its connection, whatever else is said of it. It needs b.mu.
func (b *endpointSet) reconcile(endpoints []grpcresolver.Endpoint) (gone []*Endpoint, moved []move) {
	b.update++
	known := len(b.all)
	b.service = b.opts.Target.Endpoint()
	b.all = make([]*Endpoint, 0, len(endpoints))
	for _, ep := range endpoints {
		if len(ep.Addresses) == 0 {
			continue
		}
		inst := instanceOf(ep, b.opts.Target.Endpoint())
		e := b.endpoints[addressKey(ep.Addresses)]
		switch {
		case e == nil:
			e = newEndpoint(b, ep.Addresses)
			e.isNew = known > 0
			b.endpoints[addressKey(ep.Addresses)] = e
		case e.update == b.update: // two entries for one server: the one that does not drain is newer
			if e.draining() {
				e.instance.Store(inst)
			}
			continue
		case !slices.EqualFunc(e.addresses, ep.Addresses, sameAddress):
			moved = append(moved, move{e, ep.Addresses})
		}
		e.update = b.update
		e.instance.Store(inst)
		b.all = append(b.all, e)
	}
	if len(b.all) > 0 {
		b.service = b.all[0].Instance().Service
	}
	if len(b.endpoints) > len(b.all) {
		for key, e := range b.endpoints {
			if e.update != b.update {
				delete(b.endpoints, key)
				b.remove(e)
				gone = append(gone, e)
			}
		}
	}
	gone = append(gone, b.leaveSubset()...)
	b.joinSubset()
	b.ready, b.gaps = make([]*Endpoint, 0, len(b.all)), 0
	for _, e := range b.all {
		e.gap = false
		if e.listed = e.usable(); e.listed {
			b.ready = append(b.ready, e)
		}
	}
	return gone, moved
}

// remove forgets an endpoint that is in no list any more. It needs b.mu.
func (b *endpointSet) remove(e *Endpoint) {
	e.removed = true
	if e.joined.Load() {
		b.states[e.state()]--
		b.dials.end(e)
	}
}
