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
}

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

// Server returns the options that give a grpc server its chain, as the package
// describes it.
func Server(opts ...Option) []grpc.ServerOption {
	o := newOptions(opts)
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(chain.UnaryServer(
			logging.UnaryServerInterceptor(o.logger, o.logging...),
			recovery.UnaryServerInterceptor(o.logger),
			deadline.UnaryServerInterceptor(o.timeout))),
		grpc.ChainStreamInterceptor(
			logging.StreamServerInterceptor(o.logger, o.logging...),
			recovery.StreamServerInterceptor(o.logger),
			deadline.StreamServerInterceptor()),
	}
}

// Client returns the options that give a grpc client its chain, as the package
// describes it.
func Client(opts ...Option) []grpc.DialOption {
	o := newOptions(opts)
	unary := logging.UnaryClientInterceptor(o.logger, o.logging...)
	if o.timeout > 0 {
		unary = chain.UnaryClient(unary, deadline.UnaryClientInterceptor(o.timeout))
	}
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(unary),
		grpc.WithChainStreamInterceptor(
			logging.StreamClientInterceptor(o.logger, o.logging...)),
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
