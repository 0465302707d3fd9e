package main

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/grpc-micro/micro/bench/peer"
)

// fleet is a client of many instances, by round_robin, which a resolver by hand
// tells.
type fleet struct {
	peer.Client
	*peer.Captured

	cc        *grpc.ClientConn
	resolver  *manual.Resolver
	endpoints []grpcresolver.Endpoint
}

func dialFleet(c peer.Config, opts []grpc.DialOption) (peer.Client, error) {
	aliases, err := peer.Aliases(c.Addrs[0], c.Instances-1)
	if err != nil {
		return nil, err
	}
	f := &fleet{Captured: peer.Capture("round_robin"), resolver: manual.NewBuilderWithScheme("bench")}
	for _, addr := range append(c.Addrs[:1], aliases...) {
		f.endpoints = append(f.endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{{Addr: addr}}})
	}
	f.resolver.InitialState(grpcresolver.State{Endpoints: f.endpoints})
	config := `{"loadBalancingConfig":[{"round_robin":{}}]}`
	if c.Mode == healthMode {
		config = `{"loadBalancingConfig":[{"round_robin":{}}],"healthCheckConfig":{"serviceName":""}}`
	}
	opts = append(opts, grpc.WithResolvers(f.resolver), grpc.WithDefaultServiceConfig(config))
	if f.cc, err = grpc.NewClient("bench:///all", opts...); err != nil {
		return nil, err
	}
	f.Client = peer.Stub(f.cc)
	return f, nil
}

// WaitReady implements peer.Fleet.
func (f *fleet) WaitReady(ctx context.Context, n int) error {
	f.cc.Connect()
	return f.WaitSpread(ctx, n)
}

type changeKey struct{}

// Change implements peer.Fleet.
func (f *fleet) Change(n int) {
	f.endpoints = slices.Clone(f.endpoints)
	f.endpoints[0].Attributes = attributes.New(changeKey{}, n)
	f.resolver.UpdateState(grpcresolver.State{Endpoints: f.endpoints})
}
