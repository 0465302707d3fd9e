package main

import (
	"context"
	"time"

	"github.com/grpc-micro/micro/balancer"
	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/bench/peer"
)

// subsetConfig is the default service config with a subset.
const subsetConfig = `{"loadBalancingConfig":[{"micro_round_robin":{"subset":{"size":20}}}],"healthCheckConfig":{"serviceName":""}}`

// fleet is a client of many instances, which the registry tells of them.
type fleet struct {
	peer.Client
	*peer.Captured

	cc *grpc.ClientConn
}

// captureIn looks at the policy of a client of many instances.
func captureIn(c peer.Config) *peer.Captured {
	if c.Instances == 0 {
		return nil
	}
	return peer.Capture(balancer.RoundRobin)
}

// WaitReady implements peer.Fleet. On a machine that is busy enough the registry
// takes seconds to answer, and the first waits fail with that.
func (f *fleet) WaitReady(ctx context.Context, n int) error {
	for {
		err := balancer.WaitReady(ctx, f.cc, n)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Change implements peer.Fleet: who holds the registration does it.
func (*fleet) Change(int) {}
