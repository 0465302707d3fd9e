package interceptors

import (
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/interceptors/deadline"
	"github.com/grpc-micro/micro/interceptors/internal/chain"
	"github.com/grpc-micro/micro/interceptors/logging"
	"github.com/grpc-micro/micro/interceptors/recovery"
)

// Option changes the chain.
type Option func(*options)

type options struct {
	logger  *slog.Logger // nil: slog.Default
	logging []logging.Option
	timeout time.Duration
	server  serverPairs
	client  clientPairs
}

// What is outside of the chain, outermost first.
type (
	serverPairs struct {
		unary  []grpc.UnaryServerInterceptor
		stream []grpc.StreamServerInterceptor
	}
	clientPairs struct {
		unary  []grpc.UnaryClientInterceptor
		stream []grpc.StreamClientInterceptor
	}
)

// WithLogger sets where failed calls and panics are logged. The default is
// slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// WithLogging changes which calls are logged, and how.
func WithLogging(opts ...logging.Option) Option {
	return func(o *options) { o.logging = append(o.logging, opts...) }
}

// WithTimeout gives unary calls that have no deadline this one: a client
// starts them with it, a server ends their handler's context after it. A
// deadline that the caller set stands, and streams have none. The default, 0,
// is no timeout.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithServer puts an interceptor, unary and stream, outside of a server's chain:
// metrics and traces, which want to see what the client gets. Those of several
// WithServer come in their order, the first outermost. Unlike an interceptor that
// grpc chains they cost no allocation a call; in exchange unary must not call its
// handler after it has returned. Either may be nil.
func WithServer(unary grpc.UnaryServerInterceptor, stream grpc.StreamServerInterceptor) Option {
	return func(o *options) {
		if unary != nil {
			o.server.unary = append(o.server.unary, unary)
		}
		if stream != nil {
			o.server.stream = append(o.server.stream, stream)
		}
	}
}

// WithClient is WithServer for a client's chain.
func WithClient(unary grpc.UnaryClientInterceptor, stream grpc.StreamClientInterceptor) Option {
	return func(o *options) {
		if unary != nil {
			o.client.unary = append(o.client.unary, unary)
		}
		if stream != nil {
			o.client.stream = append(o.client.stream, stream)
		}
	}
}

// Server returns the options that give a grpc server its chain, as the package
// describes it.
func Server(opts ...Option) []grpc.ServerOption {
	o := newOptions(opts)
	WithServer(logging.UnaryServerInterceptor(o.logger, o.logging...), logging.StreamServerInterceptor(o.logger, o.logging...))(&o)
	WithServer(recovery.UnaryServerInterceptor(o.logger), recovery.StreamServerInterceptor(o.logger))(&o)
	WithServer(deadline.UnaryServerInterceptor(o.timeout), deadline.StreamServerInterceptor())(&o)
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(chain.UnaryServer(o.server.unary...)),
		grpc.ChainStreamInterceptor(o.server.stream...),
	}
}

// Client returns the options that give a grpc client its chain, as the package
// describes it.
func Client(opts ...Option) []grpc.DialOption {
	o := newOptions(opts)
	WithClient(logging.UnaryClientInterceptor(o.logger, o.logging...), logging.StreamClientInterceptor(o.logger, o.logging...))(&o)
	if o.timeout > 0 {
		WithClient(deadline.UnaryClientInterceptor(o.timeout), nil)(&o)
	}
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(chain.UnaryClient(o.client.unary...)),
		grpc.WithChainStreamInterceptor(o.client.stream...),
	}
}

func newOptions(opts []Option) options {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}
