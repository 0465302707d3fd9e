package main

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// settings are what could be a default, each by itself.
var settings = map[string]mode{
	"no workers": {server: []grpc.ServerOption{grpc.NumStreamWorkers(0)}},
	"windows": {
		server: []grpc.ServerOption{grpc.InitialWindowSize(1 << 20), grpc.InitialConnWindowSize(1 << 20)},
		client: []grpc.DialOption{grpc.WithInitialWindowSize(1 << 20), grpc.WithInitialConnWindowSize(1 << 20)},
	},
	"large buffers": buffers(128 << 10),
	"small buffers": buffers(4 << 10),
	"keepalive": {
		server: []grpc.ServerOption{grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second})},
		client: []grpc.DialOption{grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second})},
	},
	"two connections": {client: []grpc.DialOption{grpc.WithDefaultServiceConfig(
		`{"loadBalancingConfig":[{"micro_round_robin":{"connectionsPerInstance":2}}],"healthCheckConfig":{"serviceName":""}}`)}},
}

func buffers(n int) mode {
	return mode{
		server: []grpc.ServerOption{grpc.WriteBufferSize(n), grpc.ReadBufferSize(n)},
		client: []grpc.DialOption{grpc.WithWriteBufferSize(n), grpc.WithReadBufferSize(n)},
	}
}
