package micro

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/grpc-micro/micro/balancer"
)

// resendBuffer bounds what a stream keeps for sending again, in bytes. It is
// grpc's write quota for a stream, so that a replay never waits for a server
// that is waiting for us.
const resendBuffer = 64 << 10

// resendStream opens a stream that goes to another instance when a Function
// refuses it.
func resendStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx = balancer.WithStream(ctx) // how long it lives is no latency of the instance
	cs, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	s := &clientStream{ctx: ctx, current: cs, opts: opts}
	s.open = func(ctx context.Context) (grpc.ClientStream, error) { return open(ctx, desc, cc, method, opts...) }
	s.changed.L = &s.mu
	return s, nil
}

// clientStream keeps what was sent until it is settled: until the server has
// answered, or so much was sent that a refusal would have come. From then on
// it is a plain pass-through.
type clientStream struct {
	open    func(context.Context) (grpc.ClientStream, error)
	opts    []grpc.CallOption
	settled atomic.Bool // set under mu; current does not change after

	mu        sync.Mutex // guards what follows; taken by this stream's own calls only
	changed   sync.Cond  // of receiving, current and settled
	ctx       context.Context
	current   grpc.ClientStream
	sent      []any
	size      int
	closed    bool // CloseSend was called
	receiving bool // RecvMsg waits in current
	resent    int  // how often
}

func (s *clientStream) SendMsg(m any) error {
	if s.settled.Load() {
		return s.current.SendMsg(m)
	}
	s.mu.Lock()
	cs := s.current
	if s.size < resendBuffer {
		s.sent = append(s.sent, m)
		s.size += size(m)
	} else {
		s.settle()
	}
	s.mu.Unlock()
	if err := cs.SendMsg(m); !errors.Is(err, io.EOF) || !s.moved(cs) {
		return err
	}
	return nil // the replay has sent it
}

func (s *clientStream) CloseSend() error {
	s.mu.Lock()
	s.closed = true
	cs := s.current
	s.mu.Unlock()
	return cs.CloseSend()
}

func (s *clientStream) RecvMsg(m any) error {
	if s.settled.Load() {
		return s.current.RecvMsg(m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		cs := s.current
		s.receiving = true
		s.mu.Unlock()
		err := cs.RecvMsg(m)
		s.mu.Lock()
		s.receiving = false
		if err == nil || !s.reopen(err) {
			s.settle()
			return err
		}
	}
}

func (s *clientStream) Header() (metadata.MD, error) {
	for {
		cs := s.stream()
		md, err := cs.Header()
		if md != nil || err != nil || !s.moved(cs) {
			return md, err
		}
	}
}

func (s *clientStream) Trailer() metadata.MD { return s.stream().Trailer() }

func (s *clientStream) Context() context.Context { return s.stream().Context() }

func (s *clientStream) stream() grpc.ClientStream {
	if s.settled.Load() {
		return s.current
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// moved is called when cs has ended without a header. It reports whether the
// call goes on in another stream, and moves it there when nobody else will.
func (s *clientStream) moved(cs grpc.ClientStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.receiving && s.current == cs && !s.settled.Load() {
		s.changed.Wait() // RecvMsg must not be called twice at once; it finds out
	}
	if s.current != cs {
		return true
	}
	if s.settled.Load() {
		return false
	}
	// Without a header there is no message either, so RecvMsg returns the status
	// and the empty message takes nothing away.
	if md, err := cs.Header(); md == nil && err == nil && s.reopen(cs.RecvMsg(new(emptypb.Empty))) {
		return true
	}
	s.settle()
	return false
}

// reopen goes on at another instance if err is a refusal, sending again what
// was sent. It needs s.mu.
func (s *clientStream) reopen(err error) bool {
	id, refused := refusedBy(err)
	if !refused || s.settled.Load() || !mayResend(s.ctx, s.resent, s.opts) {
		return false
	}
	s.resent++
	s.ctx = balancer.WithAvoid(s.ctx, id)
	cs, err := s.open(s.ctx)
	if err != nil {
		return false // the refusal says more than that there is nobody else
	}
	for _, m := range s.sent {
		if cs.SendMsg(m) != nil {
			break // RecvMsg has the reason
		}
	}
	if s.closed {
		_ = cs.CloseSend() // likewise
	}
	s.current = cs
	s.changed.Broadcast()
	return true
}

// settle needs s.mu.
func (s *clientStream) settle() {
	s.settled.Store(true)
	s.sent = nil
	s.changed.Broadcast()
}

// size is what m counts for in the buffer. What is no proto message is counted
// as if it filled it: it goes first, and is the last that is kept.
func size(m any) int {
	if m, ok := m.(proto.Message); ok {
		return proto.Size(m) + 1
	}
	return resendBuffer
}
