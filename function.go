package micro

import (
	"context"
	"sync"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// NewFunction returns a service that serves one call, or handles one event
// ([Subscribe]), and then stops: its Run returns. One stream is one call;
// health and reflection do not count.
//
// A further call is refused before its handler, with Unavailable, the trailer
// micro-refused: 1 and no headers, so that it is safe to send again whatever
// the method does. A connection of NewClient sends it to another instance, up
// to five times; other clients need a retry policy in their service config.
func NewFunction(name string, opts ...Option) *Service {
	o := &once{taken: make(chan struct{}), finished: make(chan struct{})}
	s := newService(name, opts, grpc.NumStreamWorkers(0), grpc.ChainUnaryInterceptor(o.unary), grpc.ChainStreamInterceptor(o.stream))
	o.refusal = refusal(s.name, s.opts.id)
	s.once = o
	return s
}

// once lets one call or event through.
type once struct {
	refusal  error
	taken    chan struct{} // closed when the one call or event has begun
	finished chan struct{} // closed when it is done

	mu    sync.Mutex // guards owner, and the closing of taken
	owner *byte
}

// take reports whether by has the function, now or since an earlier take.
func (o *once) take(by *byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owner == nil {
		o.owner = by
		close(o.taken)
	}
	return o.owner == by
}

// has reports whether by took the function, without taking it.
func (o *once) has(by *byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.owner == by
}

func (o *once) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if infrastructure(info.FullMethod) {
		return handler(ctx, req)
	}
	if !o.take(new(byte)) {
		_ = grpc.SetTrailer(ctx, refusedTrailer()) // fails outside a call only
		return nil, o.refusal
	}
	defer close(o.finished)
	return handler(ctx, req)
}

func (o *once) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if infrastructure(info.FullMethod) {
		return handler(srv, ss)
	}
	if !o.take(new(byte)) {
		ss.SetTrailer(refusedTrailer())
		return o.refusal
	}
	defer close(o.finished)
	return handler(srv, ss)
}

// refusal is the error of a call that was not let in. Its detail says the same
// as the trailer, and who refused; a client finds it in the error itself, where
// reading the trailer would cost each call that succeeds three allocations.
func refusal(name, id string) error {
	st := status.Newf(codes.Unavailable, "micro: function %s (%s) serves one call, and has it: send this one to another instance", name, id)
	detailed, err := st.WithDetails(&errdetails.ErrorInfo{
		Reason:   refusedReason,
		Domain:   refusedDomain,
		Metadata: map[string]string{refusedInstance: id},
	})
	if err != nil { // only an OK status takes no details
		return st.Err()
	}
	return detailed.Err()
}

func refusedTrailer() metadata.MD { return metadata.Pairs("micro-refused", "1") }
