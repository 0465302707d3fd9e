package logging

import (
	"context"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// UnaryServerInterceptor logs the calls that this server answers. Put it first
// (outermost), so that it sees what the client gets. A nil logger is
// slog.Default().
func UnaryServerInterceptor(logger *slog.Logger, opts ...Option) grpc.UnaryServerInterceptor {
	l := newLog("server", logger, serverLevel, opts)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		start := time.Now()
		resp, err := handler(ctx, req)
		if l.wants(info.FullMethod, err) {
			l.finished(ctx, info.FullMethod, start, addrOf(ctx), "", err)
		}
		return resp, err
	}
}

// StreamServerInterceptor logs the streams that this server answers, when they
// end. A nil logger is slog.Default().
func StreamServerInterceptor(logger *slog.Logger, opts ...Option) grpc.StreamServerInterceptor {
	l := newLog("server", logger, serverLevel, opts)
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		start := time.Now()
		err := handler(srv, stream)
		if l.wants(info.FullMethod, err) {
			l.finished(stream.Context(), info.FullMethod, start, addrOf(stream.Context()), "", err)
		}
		return err
	}
}

func addrOf(ctx context.Context) net.Addr {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr
	}
	return nil
}
