package tracing

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// UnaryClientInterceptor traces the calls that a client makes, and tells the
// server their trace. What grpc retries by itself is one span.
func UnaryClientInterceptor(opts ...Option) grpc.UnaryClientInterceptor {
	t := newTracer(trace.SpanKindClient, opts)
	return func(ctx context.Context, fullMethod string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		m := t.methods.Get(fullMethod)
		if m.skip {
			return invoke(ctx, fullMethod, req, reply, cc, opts...)
		}
		ctx, span := t.Start(ctx, m.name, m.start...)
		ctx = t.inject(ctx)
		if !span.IsRecording() {
			return invoke(ctx, fullMethod, req, reply, cc, opts...)
		}
		defer span.End() // after a panic, which it records
		span.SetAttributes(m.attributes...)
		var p peer.Peer
		err := invoke(ctx, fullMethod, req, reply, cc, append(slices.Clip(opts), grpc.Peer(&p))...)
		t.finish(span, err, p.Addr)
		return err
	}
}

// StreamClientInterceptor is UnaryClientInterceptor for streams. The span ends
// with the stream: by the server, by an error, or because its context or
// connection did.
func StreamClientInterceptor(opts ...Option) grpc.StreamClientInterceptor {
	t := newTracer(trace.SpanKindClient, opts)
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, fullMethod string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		m := t.methods.Get(fullMethod)
		if m.skip {
			return open(ctx, desc, cc, fullMethod, opts...)
		}
		ctx, span := t.Start(ctx, m.name, m.start...)
		ctx = t.inject(ctx)
		if !span.IsRecording() {
			return open(ctx, desc, cc, fullMethod, opts...)
		}
		span.SetAttributes(m.attributes...)
		p := new(peer.Peer) // set by grpc before the stream ends
		finished := func(err error) { t.finish(span, err, p.Addr) }
		stream, err := open(ctx, desc, cc, fullMethod, append(slices.Clip(opts), grpc.Peer(p), grpc.OnFinish(finished))...)
		if err != nil && span.IsRecording() {
			finished(err) // by an interceptor after this one: grpc has not seen the call
		}
		return stream, err
	}
}
