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
// package registers micro_round_robin, micro_random, micro_weighted,
// micro_least_request, micro_p2c_ewma and micro_consistent_hash. Each takes a
// filter for the whole connection:
//
//	{"version": "v2", "versionRange": "^1.4", "zone": "a", "labels": {"lane": "x"}, "hasLabel": "canary",
//	 "and": […], "or": […], "not": {…}}
//
// of which every part that is given must hold, and beside it
//
//	"tiers": [{"labels": {"lane": "x"}}, {"labels": {"lane": "stable"}}, "any"]
//	"methods": {"greeter.v1.Greeter/SayHello": {"filter": {…}, "tiers": […]}, "greeter.v1.Greeter": {…}}
//	"zoneFirst": {"zone": "eu-1a", "panicThreshold": 70, "minInstances": 1}
//
//	"ejection": {"consecutiveFailures": 5, "successRateDeviations": 1.9, "latencyFactor": 0, "minCalls": 100,
//	             "minInstances": 5, "interval": "10s", "time": "30s", "maxTime": "5m", "maxPercent": 30, "codes": ["UNAVAILABLE"]}
//	"slowStart": {"window": "30s", "minPercent": 10}
//	"subset": {"size": 20, "key": "pod-7"}
//	"connectionsPerInstance": 2
//
// Tiers ([WithTiers]) are filters of which the first one holds that keeps a
// usable instance. Methods have filters beside the connection's and tiers in the
// place of its tiers. With zoneFirst, calls stay in the client's own zone, as
// long as so many percent of its instances, and so many of them, are usable;
// else they go to all zones alike.
//
// Ejection leaves an instance alone for a while: after so many failures in a row,
// or when an interval in which it had minCalls, as had minInstances, shows a
// success rate that many standard deviations below the mean, or latencies that
// many times the median; 0 switches a rule off, and the values above are the
// defaults. A failure is a status with one of the codes; any other answer is a
// success, and calls that their caller ended are neither. The first ejection
// lasts time, each further one as much longer, up to maxTime; at most maxPercent
// are out at once, though one always may be. It is off unless asked for.
//
// SlowStart gives an instance that came later than the channel, or comes back
// from an ejection, minPercent of its share at first and all of it after window.
//
// Subset connects the client to so many of the instances, which it ranks by a hash
// of each and of key (any, if there is none): over many clients, instances have
// about the same number of them, and when instances come or go a client changes
// hardly any connection. Members that cannot be reached or drain have others in
// their place, and a call whose filters keep nothing of the subset connects to
// what they keep.
//
// # Policies
//
//   - [RoundRobin], [Random]: all instances alike.
//   - [Weighted]: in proportion to the weights in the registry, evenly in time.
//   - [LeastRequest] {"choiceCount": 2}: the one with the fewest calls in flight
//     of a few random ones.
//   - [P2C]: of two random ones the one with the lower latency times calls in
//     flight. {"latency": {"decay": "5s", "failurePenalty": "1s"}} says how
//     long a peak is remembered and what a call counts that failed at once. Say
//     so of streams ([WithStream]), unless package micro made the client.
//   - [Hash] {"header": "x-user", "loadFactor": 1.25}: calls with the same key
//     ([WithHashKey], or else the header's value) go to the same instance, as
//     long as that has no more than so many times the mean of calls in flight.
//     When an instance comes or goes only its own keys move. A header costs the
//     pick a copy of the metadata, WithHashKey nothing.
//
// What is learnt of an instance (calls in flight, latency) is kept as long as it
// has the same addresses in the same channel; a channel that goes idle forgets.
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
// [Explain] tells for a connection, a context and a method where a call would go,
// and of every other instance why not; [WaitReady] waits until connections are
// up, for those who want that before the first call.
//
// The instances come from package resolver, with version, zone and labels.
// Those of another resolver (dns, static) have an address only, and every
// policy works on them.
package balancer
