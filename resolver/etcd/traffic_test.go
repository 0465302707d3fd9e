package etcd_test

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// received counts what a client reads from etcd.
type received struct{ n, messages atomic.Int64 }

func (r *received) option() grpc.DialOption { return grpc.WithStatsHandler(r) }

func (r *received) bytes() int64 { return r.n.Load() }

// HandleRPC implements stats.Handler.
func (r *received) HandleRPC(_ context.Context, s stats.RPCStats) {
	switch s := s.(type) {
	case *stats.InPayload:
		r.messages.Add(1)
		r.n.Add(int64(s.WireLength))
	case *stats.InHeader:
		r.n.Add(int64(s.WireLength))
	case *stats.InTrailer:
		r.n.Add(int64(s.WireLength))
	}
}

// TagRPC implements stats.Handler.
func (*received) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn implements stats.Handler.
func (*received) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (*received) HandleConn(context.Context, stats.ConnStats) {}
