package inbox

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	microv1 "github.com/grpc-micro/micro/proto/micro/v1"
)

// hub is the server for the subscriptions of this process. It listens when there
// is the first.
type hub struct {
	options

	serving sync.WaitGroup

	mu      sync.Mutex // guards what follows
	srv     *grpc.Server
	addr    string // to be registered
	members map[string]*member
	left    chan struct{} // closed: subscriptions are to end
}

func newHub(o options) *hub {
	return &hub{options: o, members: make(map[string]*member), left: make(chan struct{})}
}

// listen returns the address to be registered, of the server that it starts if
// there is none.
func (h *hub) listen(ctx context.Context) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.srv != nil {
		return h.addr, nil
	}
	var config net.ListenConfig
	lis, err := config.Listen(ctx, "tcp", h.address)
	if err != nil {
		return "", fmt.Errorf("inbox: listen at %s: %w: is the port free, and the address this host's (WithAddress)?", h.address, err)
	}
	h.addr = h.advertise
	if h.addr == "" {
		host, _, _ := net.SplitHostPort(h.address) // as it was written: a name is what a certificate has
		_, port, _ := net.SplitHostPort(lis.Addr().String())
		h.addr = net.JoinHostPort(host, port)
	}
	h.srv = grpc.NewServer(
		grpc.Creds(h.server),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAfter / 2, PermitWithoutStream: true}))
	h.srv.RegisterService(&serviceDesc, h)
	h.serving.Go(func() {
		if err := h.srv.Serve(lis); err != nil {
			h.logger.Error("inbox: the server for subscriptions has ended", "address", h.addr, "error", err)
		}
	})
	return h.addr, nil
}

func (h *hub) add(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members[m.id] = m
}

func (h *hub) remove(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.members, m.id)
}

// leave ends the subscriptions, once.
func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.left:
	default:
		close(h.left)
	}
}

// close stops the server: it lets calls end until ctx does.
func (h *hub) close(ctx context.Context) {
	h.mu.Lock()
	srv := h.srv
	h.mu.Unlock()
	if srv == nil {
		return
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		srv.GracefulStop()
	}()
	grace := time.NewTimer(time.Second) // no member is left that a call could wait for
	defer grace.Stop()
	select {
	case <-stopped:
	case <-grace.C:
		srv.Stop()
	case <-ctx.Done():
		srv.Stop()
	}
	<-stopped
	h.serving.Wait()
}

// deliver is the service's only method.
func (h *hub) deliver(ctx context.Context, r *microv1.DeliverRequest) error {
	h.mu.Lock()
	m := h.members[r.GetMember()]
	h.mu.Unlock()
	switch {
	case m == nil:
		return status.Errorf(codes.Unavailable, "inbox: no member %q is here any more", r.GetMember())
	case r.GetEvent().GetTopic() != m.sub.Topic:
		return status.Errorf(codes.InvalidArgument, "inbox: the event is of topic %q, and member %q has subscribed to %q", r.GetEvent().GetTopic(), m.id, m.sub.Topic)
	}
	return m.deliver(ctx, decode(r.GetEvent()))
}

// serviceDesc is what protoc-gen-go-grpc would make of the service.
var serviceDesc = grpc.ServiceDesc{
	ServiceName: "micro.v1.Inbox",
	HandlerType: (*deliverer)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Deliver",
		Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			r := new(microv1.DeliverRequest)
			if err := decode(r); err != nil {
				return nil, err
			}
			return new(microv1.DeliverResponse), srv.(deliverer).deliver(ctx, r)
		},
	}},
	Metadata: "micro/v1/inbox.proto",
}

type deliverer interface {
	deliver(ctx context.Context, r *microv1.DeliverRequest) error
}
