package rpcmetrics

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// Client has the metrics of the calls that this process makes. It is a
// prometheus.Collector, and safe for concurrent use.
type Client struct{ *metrics }

// NewClient returns the metrics of clients. Register them once.
func NewClient(opts ...Option) *Client { return &Client{newMetrics(client, opts)} }

// UnaryClientInterceptor counts unary calls. What grpc retries by itself is one
// call.
func (c *Client) UnaryClientInterceptor() grpc.UnaryClientInterceptor {
	unaries := &c.calls[unary]
	return func(ctx context.Context, fullMethod string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		m := unaries.Get(fullMethod)
		began := m.begin()
		err := invoke(ctx, fullMethod, req, reply, cc, opts...)
		m.end(ctx, began, err)
		return err
	}
}

// StreamClientInterceptor counts streams and their messages. A stream ends with
// the server, with an error, or with its context or connection, even if nobody
// calls RecvMsg any more.
func (c *Client) StreamClientInterceptor() grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, fullMethod string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		m := c.calls[streamKind(desc.ClientStreams, desc.ServerStreams)].Get(fullMethod)
		s := &countedClientStream{of: m, ctx: ctx, began: m.begin()}
		stream, err := open(ctx, desc, cc, fullMethod, append(slices.Clip(opts), grpc.OnFinish(s.finished))...)
		if err != nil {
			s.finished(err) // unless grpc has seen the call, and said so
			return nil, err
		}
		s.ClientStream = stream
		return s, nil
	}
}

type countedClientStream struct {
	grpc.ClientStream

	of    *method
	ctx   context.Context
	began time.Time
	ended atomic.Bool
}

func (s *countedClientStream) finished(err error) {
	if !s.ended.Swap(true) {
		s.of.end(s.ctx, s.began, err)
	}
}

func (s *countedClientStream) SendMsg(msg any) error {
	err := s.ClientStream.SendMsg(msg)
	if err == nil {
		s.of.sent.Add(1)
	}
	return err
}

func (s *countedClientStream) RecvMsg(msg any) error {
	err := s.ClientStream.RecvMsg(msg)
	if err == nil {
		s.of.received.Add(1)
	}
	return err
}
