// Package chain makes one interceptor of several.
//
// So does grpc, with a closure a call for each but the first. Here they are made
// once and used again, so a chain allocates nothing. In exchange none of the
// interceptors may call what comes after it once it has returned: that belongs
// to another call by then.
package chain

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc"
)

// UnaryServer returns interceptors as one, the first of them outermost.
func UnaryServer(interceptors ...grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	if len(interceptors) == 1 {
		return interceptors[0]
	}
	calls := sync.Pool{New: func() any { return newServerCall(interceptors) }}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		c := calls.Get().(*serverCall)
		c.info, c.handler = info, handler
		resp, err := c.first(ctx, req)
		c.info, c.handler = nil, nil
		calls.Put(c) // not after a panic, which leaves it unknown who still uses it
		return resp, err
	}
}

// serverCall is what the closures of a chain share, of the call that they are in.
type serverCall struct {
	first   grpc.UnaryHandler
	info    *grpc.UnaryServerInfo
	handler grpc.UnaryHandler
}

func newServerCall(interceptors []grpc.UnaryServerInterceptor) *serverCall {
	c := new(serverCall)
	c.first = func(ctx context.Context, req any) (any, error) { return c.handler(ctx, req) }
	for _, intercept := range slices.Backward(interceptors) {
		next := c.first
		c.first = func(ctx context.Context, req any) (any, error) { return intercept(ctx, req, c.info, next) }
	}
	return c
}

// UnaryClient returns interceptors as one, the first of them outermost.
func UnaryClient(interceptors ...grpc.UnaryClientInterceptor) grpc.UnaryClientInterceptor {
	if len(interceptors) == 1 {
		return interceptors[0]
	}
	calls := sync.Pool{New: func() any { return newClientCall(interceptors) }}
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		c := calls.Get().(*clientCall)
		c.invoke = invoke
		err := c.first(ctx, method, req, reply, cc, opts...)
		c.invoke = nil
		calls.Put(c)
		return err
	}
}

// clientCall is serverCall for clients, whose invoker gets all that it needs.
type clientCall struct {
	first  grpc.UnaryInvoker
	invoke grpc.UnaryInvoker
}

func newClientCall(interceptors []grpc.UnaryClientInterceptor) *clientCall {
	c := new(clientCall)
	c.first = func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
		return c.invoke(ctx, method, req, reply, cc, opts...)
	}
	for _, intercept := range slices.Backward(interceptors) {
		next := c.first
		c.first = func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
			return intercept(ctx, method, req, reply, cc, next, opts...)
		}
	}
	return c
}
