package rpcmetrics

import (
	"context"

	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/interceptors/internal/methods"
)

// Server has the metrics of the calls that this process answers. It is a
// prometheus.Collector, and safe for concurrent use.
type Server struct{ *metrics }

// NewServer returns the metrics of servers. Register them once.
func NewServer(opts ...Option) *Server { return &Server{newMetrics(server, opts)} }

// Show makes metrics of all methods of srv, a *grpc.Server or a *micro.Service
// whose services are registered, and of all codes: they are 0 until there is
// something to count. Without it each of them appears with the first call that
// it counts, which looks to Prometheus as if nothing had changed.
func (s *Server) Show(srv interface {
	GetServiceInfo() map[string]grpc.ServiceInfo
},
) {
	for service, info := range srv.GetServiceInfo() {
		for _, method := range info.Methods {
			k := unary
			if method.IsClientStream || method.IsServerStream {
				k = streamKind(method.IsClientStream, method.IsServerStream)
			}
			s.calls[k].Get("/" + service + "/" + method.Name).complete.Store(true)
		}
	}
}

// UnaryServerInterceptor counts unary calls.
func (s *Server) UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	unaries := &s.calls[unary]
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m := unaries.Get(info.FullMethod)
		began := m.begin()
		resp, err := handler(ctx, req)
		m.end(ctx, began, err)
		return resp, err
	}
}

// StreamServerInterceptor counts streams and their messages. Those that
// grpc.UnknownServiceHandler takes are counted as one method, for their names
// are up to the clients.
func (s *Server) StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		fullMethod := info.FullMethod
		if srv == nil {
			fullMethod = methods.Unknown
		}
		m := s.calls[streamKind(info.IsClientStream, info.IsServerStream)].Get(fullMethod)
		began := m.begin()
		err := handler(srv, &countedServerStream{stream, m})
		m.end(stream.Context(), began, err)
		return err
	}
}

type countedServerStream struct {
	grpc.ServerStream

	of *method
}

func (s *countedServerStream) SendMsg(msg any) error {
	err := s.ServerStream.SendMsg(msg)
	if err == nil {
		s.of.sent.Add(1)
	}
	return err
}

func (s *countedServerStream) RecvMsg(msg any) error {
	err := s.ServerStream.RecvMsg(msg)
	if err == nil {
		s.of.received.Add(1)
	}
	return err
}
