package lane

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/grpc-micro/micro/balancer"
)

// UnaryServerInterceptor puts the handler's context into the lane that the call
// came in.
func UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(incoming(ctx), req)
	}
}

// StreamServerInterceptor is UnaryServerInterceptor for streams.
func StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx := incoming(ss.Context())
		if ctx != ss.Context() {
			ss = serverStream{ss, ctx}
		}
		return handler(srv, ss)
	}
}

type serverStream struct {
	grpc.ServerStream

	ctx context.Context
}

func (s serverStream) Context() context.Context { return s.ctx }

func incoming(ctx context.Context) context.Context {
	values := metadata.ValueFromIncomingContext(ctx, Header)
	if len(values) != 1 {
		return ctx
	}
	return With(ctx, values[0])
}

// UnaryClientInterceptor sends a call to an instance of its context's lane or,
// if there is none that can be used, to a stable one, and tells the server the
// lane. A call in no lane goes to a stable one. Tiers that the context has of
// its own (balancer.WithTiers) stand.
func UnaryClientInterceptor(opts ...Option) grpc.UnaryClientInterceptor {
	o := newOptions(opts)
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, callOpts ...grpc.CallOption) error {
		return invoke(o.outgoing(ctx), method, req, reply, cc, callOpts...)
	}
}

// StreamClientInterceptor is UnaryClientInterceptor for streams.
func StreamClientInterceptor(opts ...Option) grpc.StreamClientInterceptor {
	o := newOptions(opts)
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, callOpts ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(o.outgoing(ctx), desc, cc, method, callOpts...)
	}
}

func (o options) outgoing(ctx context.Context) context.Context {
	name := From(ctx)
	if !balancer.HasTiers(ctx) {
		ctx = balancer.WithTiers(ctx, o.tiers(name)...)
	}
	if name != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, Header, name)
	}
	return ctx
}
