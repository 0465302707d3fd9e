// Package lane keeps the calls and events that belong to one test of a changed
// service together, in an environment that everybody shares.
//
// A lane is a name. Instances are in it by their label "lane"; those without
// that label, or with "stable" for its value, are stable. A call in lane x goes
// to an instance in lane x where there is one and to a stable one elsewhere, and
// whatever its handler calls or publishes is in lane x, too. So a team runs the
// one service that it has changed, and no copy of the others:
//
//	micro.WithLabels(map[string]string{"lane": "x"})   // on the changed instance
//	ctx = lane.With(ctx, "x")                          // in the test, or at the edge
//
// Servers and clients need the interceptors, all of them on the way:
//
//	grpc.NewServer(grpc.ChainUnaryInterceptor(lane.UnaryServerInterceptor()), grpc.ChainStreamInterceptor(lane.StreamServerInterceptor()))
//	grpc.NewClient(target, grpc.WithChainUnaryInterceptor(lane.UnaryClientInterceptor()), grpc.WithChainStreamInterceptor(lane.StreamClientInterceptor()), …)
//
// and a policy of package balancer; with another one, calls carry the lane and
// go anywhere. Events carry it from [Publisher] to [Middleware].
//
// The lane travels in the metadata, or in an event's header, as [Header]. Take
// that off what comes in from outside, unless testers are to choose.
package lane
