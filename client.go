package micro

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // without it client health checks are silently off

	_ "github.com/grpc-micro/micro/balancer" // registers the policies that service configs name
	"github.com/grpc-micro/micro/resolver"
)

// defaultServiceConfig spreads calls over the instances that say they serve.
// It retries nothing: which methods may be sent twice only their author knows,
// and generated clients do (idempotency_level).
const defaultServiceConfig = `{"loadBalancingConfig":[{"micro_round_robin":{}}],"healthCheckConfig":{"serviceName":""}}`

// NewClient returns a connection to the service that is found as name in d: a
// plain *grpc.ClientConn with target micro:///name, for any grpc stub. It does
// not block; a service that cannot be found shows in the calls, as Unavailable
// with the reason. Close it when done; d must outlive it.
//
// opts come after the defaults, and win. The defaults are micro_round_robin
// over instances that are healthy (grpc.health.v1; a server without it counts
// as healthy), no HTTP proxy, and sending again elsewhere, up to five times,
// what a Function refused before its handler. What discovery remembers through
// outages and restarts is an option of the resolver:
//
//	micro.NewClient(name, reg, grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithSnapshots("/var/cache/greeter"))), …)
//
// Transport credentials are required: grpc.WithTransportCredentials, or
// Insecure for development. TLS checks the server's certificate against the
// authority, which is name unless grpc.WithAuthority or the credentials say
// otherwise: one certificate for all instances of a service, whatever their
// addresses.
func NewClient(name string, d resolver.Discovery, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if err := resolver.ValidateService(name); err != nil {
		return nil, fmt.Errorf("micro: new client: %w", err)
	}
	if d == nil {
		return nil, fmt.Errorf("micro: new client of %s: no registry: pass what resolver.Open returns", name)
	}
	defaults := []grpc.DialOption{
		grpc.WithDefaultServiceConfig(defaultServiceConfig),
		grpc.WithNoProxy(),
		grpc.WithChainUnaryInterceptor(resendUnary),
		grpc.WithChainStreamInterceptor(resendStream),
	}
	// Of the resolvers for a scheme grpc takes the first one, so ours comes last.
	opts = slices.Concat(defaults, opts, []grpc.DialOption{grpc.WithResolvers(resolver.NewBuilder(d))})
	giveHeadroom()
	conn, err := grpc.NewClient(resolver.Scheme+":///"+name, opts...)
	if err != nil {
		return nil, fmt.Errorf("micro: new client of %s: %w", name, explained(err))
	}
	return conn, nil
}

// Insecure sends everything in plain text to whoever answers: for development,
// and for networks that encrypt by themselves.
func Insecure() grpc.DialOption {
	return grpc.WithTransportCredentials(insecure.NewCredentials())
}

// explained adds the remedy to the mistake that every newcomer makes; grpc
// exports no value for it.
func explained(err error) error {
	if strings.Contains(err.Error(), "no transport security set") {
		return errors.New("no transport credentials: pass grpc.WithTransportCredentials(credentials.NewTLS(…)) or, for development, micro.Insecure()")
	}
	return err
}
