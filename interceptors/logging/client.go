package logging

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// UnaryClientInterceptor logs the calls that this client makes. A nil logger
// is slog.Default().
func UnaryClientInterceptor(logger *slog.Logger, opts ...Option) grpc.UnaryClientInterceptor {
	l := newLog("client", logger, clientLevel, opts)
	if l.peer {
		return l.unaryWithPeer
	}
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		start := time.Now()
		err := invoke(ctx, method, req, reply, cc, opts...)
		if l.wants(method, err) {
			l.finished(ctx, method, start, nil, cc.Target(), err)
		}
		return err
	}
}

func (l *log) unaryWithPeer(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	start := time.Now()
	var p peer.Peer
	err := invoke(ctx, method, req, reply, cc, append(slices.Clip(opts), grpc.Peer(&p))...)
	if l.wants(method, err) {
		l.finished(ctx, method, start, p.Addr, cc.Target(), err)
	}
	return err
}

// StreamClientInterceptor logs the streams that this client opens, when they
// end: by the server, by an error, or because their context or their
// connection did, even if nobody calls RecvMsg any more. A nil logger is
// slog.Default().
func StreamClientInterceptor(logger *slog.Logger, opts ...Option) grpc.StreamClientInterceptor {
	l := newLog("client", logger, clientLevel, opts)
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s := &clientStream{log: l, ctx: ctx, cc: cc, method: method, start: time.Now()}
		stream, err := open(ctx, desc, cc, method, append(slices.Clip(opts), grpc.Peer(&s.peer), grpc.OnFinish(s.finished))...)
		if err != nil && !s.ended.Load() {
			s.finished(err) // by an interceptor after this one: grpc has not seen the call
		}
		return stream, err
	}
}

// clientStream waits for the end of a stream with grpc's OnFinish. A wrapper
// round RecvMsg would miss the streams that are left before their end, and
// stand in the way of every message.
type clientStream struct {
	*log

	ctx    context.Context
	cc     *grpc.ClientConn
	method string
	start  time.Time
	peer   peer.Peer // set by grpc before it calls finished
	ended  atomic.Bool
}

func (s *clientStream) finished(err error) {
	s.ended.Store(true)
	if s.wants(s.method, err) {
		s.log.finished(s.ctx, s.method, s.start, s.peer.Addr, s.cc.Target(), err)
	}
}
