// Package balancer is the selector: it picks the instance for each call, as a
// family of grpc balancers that filter the instances a resolver found and then
// let a policy choose among them.
//
//	conn, err := grpc.NewClient("micro:///greeter",
//		grpc.WithResolvers(resolver.NewBuilder(reg)),
//		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"micro_least_request":{"filter":{"zone":"a"}}}]}`), …)
//	…
//	ctx = balancer.WithFilter(ctx, balancer.Version("v2"))
//	reply, err := client.SayHello(ctx, req) // goes to a v2 instance in zone a
//
// A policy is chosen by service config, like any of grpc's; importing this
// package registers micro_round_robin, micro_random and micro_least_request.
// Each takes a filter for the whole connection:
//
//	{"version": "v2", "zone": "a", "labels": {"lane": "x"}, "and": […], "or": […], "not": {…}}
//
// of which every part that is given must hold.
//
// # What a call meets
//
// Filters see all instances, not only the connected ones. If an instance that
// passes is connected, the call goes there. If the only ones that pass are
// still connecting for the first time, the call waits. If all of them have
// failed, it fails with their connection's error; if none passes, with an error
// that says so: Unavailable, or waiting for a change in calls that wait for
// ready. Instances that drain are used only when no other is left.
//
// The instances come from package resolver, with version, zone and labels.
// Those of another resolver (dns, static) have an address only, and every
// policy works on them.
package balancer
