package resolver

import (
	"slices"

	"google.golang.org/grpc/attributes"
	grpcresolver "google.golang.org/grpc/resolver"
)

type instanceKey struct{}

// EndpointOf returns the grpc endpoint of an instance, with the instance in
// its attributes. They are the Endpoint's and not the Addresses': an Address
// attribute that changes costs a reconnect, and an instance that drains or
// gets another weight must keep its connection.
//
// Its addresses are Addrs. A builder puts Local before them in clients on the
// same host, unless they have a dialer of their own.
func EndpointOf(inst *Instance) grpcresolver.Endpoint {
	addrs := make([]grpcresolver.Address, len(inst.Addrs))
	for i, addr := range inst.Addrs {
		addrs[i] = grpcresolver.Address{Addr: addr}
	}
	return grpcresolver.Endpoint{Addresses: addrs, Attributes: attributes.New(instanceKey{}, inst)}
}

// nearby returns the endpoints of instances as clients on this host dial them:
// those that are here by their local socket, and by Addrs when nobody answers
// there. What is on other hosts, mostly everything, stays as it is.
func nearby(instances []*Instance, endpoints []grpcresolver.Endpoint) []grpcresolver.Endpoint {
	near := endpoints
	for i, inst := range instances {
		addr := inst.localAddr()
		if addr == "" {
			continue
		}
		if &near[0] == &endpoints[0] {
			near = slices.Clone(endpoints)
		}
		near[i].Addresses = slices.Concat([]grpcresolver.Address{{Addr: addr}}, endpoints[i].Addresses)
	}
	return near
}

// InstanceOf returns the instance that EndpointOf put into ep, or nil: an
// endpoint of another resolver (dns, passthrough) has none.
func InstanceOf(ep grpcresolver.Endpoint) *Instance {
	inst, _ := ep.Attributes.Value(instanceKey{}).(*Instance)
	return inst
}
