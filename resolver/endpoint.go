package resolver

import (
	"google.golang.org/grpc/attributes"
	grpcresolver "google.golang.org/grpc/resolver"
)

type instanceKey struct{}

// EndpointOf returns the grpc endpoint of an instance, with the instance in
// its attributes. They are the Endpoint's and not the Addresses': an Address
// attribute that changes costs a reconnect, and an instance that drains or
// gets another weight must keep its connection.
func EndpointOf(inst *Instance) grpcresolver.Endpoint {
	addrs := make([]grpcresolver.Address, len(inst.Addrs))
	for i, addr := range inst.Addrs {
		addrs[i] = grpcresolver.Address{Addr: addr}
	}
	return grpcresolver.Endpoint{Addresses: addrs, Attributes: attributes.New(instanceKey{}, inst)}
}

// InstanceOf returns the instance that EndpointOf put into ep, or nil: an
// endpoint of another resolver (dns, passthrough) has none.
func InstanceOf(ep grpcresolver.Endpoint) *Instance {
	inst, _ := ep.Attributes.Value(instanceKey{}).(*Instance)
	return inst
}
