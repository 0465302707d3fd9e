// Package channelz adds grpc's channelz service to a server, for the tools that
// show its connections and calls.
//
// It is a package of its own because linking it is enough to make grpc write
// the whole resolver state at each update: 43 ms and 29 MB for one change among
// 10,000 instances, where 0.8 ms do without.
package channelz

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/channelz/service"
)

// Register adds channelz to s, a *micro.Service or a *grpc.Server, before it
// serves.
func Register(s grpc.ServiceRegistrar) { service.RegisterChannelzServiceToServer(s) }
