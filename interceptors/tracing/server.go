package tracing

import (
	"context"
	"net"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// UnaryServerInterceptor traces the calls that a server answers. Put it before
// (outside) everything that changes what a call comes to, and before what wants
// the span in its context.
func UnaryServerInterceptor(opts ...Option) grpc.UnaryServerInterceptor {
	t := newTracer(trace.SpanKindServer, opts)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m := t.methods.Get(info.FullMethod)
		if m.skip {
			return handler(ctx, req)
		}
		ctx, span := t.startIn(t.extract(ctx), m.name, m.start)
		if !span.IsRecording() {
			return handler(ctx, req)
		}
		defer span.End() // after a panic, which it records
		span.SetAttributes(m.attributes...)
		resp, err := handler(ctx, req)
		t.finish(span, err, local(ctx))
		return resp, err
	}
}

// StreamServerInterceptor is UnaryServerInterceptor for streams. A stream is one
// span.
func StreamServerInterceptor(opts ...Option) grpc.StreamServerInterceptor {
	t := newTracer(trace.SpanKindServer, opts)
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		var m *method
		if srv != nil {
			m = t.methods.Get(info.FullMethod)
		} else { // of grpc.UnknownServiceHandler: clients make up the name
			m = t.newMethod(info.FullMethod)
		}
		if m.skip {
			return handler(srv, stream)
		}
		ctx, span := t.startIn(t.extract(stream.Context()), m.name, m.start)
		stream = &serverStream{stream, ctx}
		if !span.IsRecording() {
			return handler(srv, stream)
		}
		defer span.End() // after a panic, which it records
		span.SetAttributes(m.attributes...)
		err := handler(srv, stream)
		t.finish(span, err, local(ctx))
		return err
	}
}

type serverStream struct {
	grpc.ServerStream

	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

// local returns where the server was called.
func local(ctx context.Context) net.Addr {
	if p, ok := peer.FromContext(ctx); ok {
		return p.LocalAddr
	}
	return nil
}
