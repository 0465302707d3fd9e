package micro

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

const (
	defaultShutdownTimeout = 20 * time.Second
	defaultDrainDelay      = time.Second
)

// Option configures a Service or a Function. A bad one is reported by Run.
type Option func(*options)

type options struct {
	address         string
	listener        net.Listener
	advertise       []string
	registry        resolver.Registrar
	id              string
	version         string
	labels          map[string]string
	zone            string
	weight          uint32
	serverOptions   []grpc.ServerOption
	readyCheck      func(context.Context) error
	reflection      bool
	localSocket     bool
	shutdownTimeout time.Duration
	drainDelay      time.Duration // negative: not set
	brokers         []pubsub.Broker
	logger          *slog.Logger
}

// WithAddress sets where to listen: "host:port", ":0" (the default: a free port
// on every interface) or "unix:///path/to.sock".
func WithAddress(addr string) Option { return func(o *options) { o.address = addr } }

// WithListener serves on a listener of the caller's, which Run closes.
func WithListener(lis net.Listener) Option { return func(o *options) { o.listener = lis } }

// WithAdvertise sets the addresses under which clients dial this instance, the
// primary first:
//
//	host:port        a name or an IP, IPv6 as [::1]:80
//	host             the same, with the port that is listened on
//	$POD_IP          what the environment says: an address, with or without a port
//	interface:eth0   the first address of that interface that others can dial
//	10.0.0.0/8       this host's address in that network
//	unix:///path     a socket, for clients on this host
//
// Without it the listener's address is taken, or, where that is unspecified
// (":0"), the address of the interface that routes to the registry. An address
// that no client could reach, or none on other hosts while the registry is on
// one, is an error of Run that says what to do.
func WithAdvertise(addrs ...string) Option { return func(o *options) { o.advertise = addrs } }

// WithRegistry announces the instance in r. Without it nobody finds the
// service but those who know its address. The caller closes r after Run.
func WithRegistry(r resolver.Registrar) Option { return func(o *options) { o.registry = r } }

// WithID sets the instance ID, unique within the service. The default is the
// host name and a random part.
func WithID(id string) Option { return func(o *options) { o.id = id } }

// WithVersion sets the version that clients can filter by.
func WithVersion(version string) Option { return func(o *options) { o.version = version } }

// WithLabels adds labels that clients can filter by.
func WithLabels(labels map[string]string) Option {
	labels = maps.Clone(labels)
	return func(o *options) {
		if o.labels == nil {
			o.labels = make(map[string]string, len(labels))
		}
		maps.Copy(o.labels, labels)
	}
}

// WithZone sets the zone that clients can filter by.
func WithZone(zone string) Option { return func(o *options) { o.zone = zone } }

// WithWeight sets the instance's relative share of calls under a policy that
// weighs; 0, the default, means 1.
func WithWeight(weight uint32) Option { return func(o *options) { o.weight = weight } }

// WithServerOptions adds options to those of the grpc.Server: credentials,
// interceptors, limits. They come after the Service's own, and win. Its own are
// WaitForHandlers, and 64 stream workers, which save a fifth of the server's
// CPU for small calls. Requests above 4 MiB take grpc.MaxRecvMsgSize here, and
// answers above it grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(…)) in clients.
func WithServerOptions(opts ...grpc.ServerOption) Option {
	return func(o *options) { o.serverOptions = append(o.serverOptions, opts...) }
}

// WithReadyCheck delays health SERVING and the announcement until check
// returns nil. It is called again, with a pause that grows from 100 ms to 2 s,
// as long as it fails; each failure is logged. The default is ready at once.
func WithReadyCheck(check func(context.Context) error) Option {
	return func(o *options) { o.readyCheck = check }
}

// WithReflection says whether the server answers grpc reflection, by which
// grpcurl and the like list and call it. The default is true; switch it off
// where the schema is nobody's business.
func WithReflection(on bool) Option { return func(o *options) { o.reflection = on } }

// WithLocalSocket says whether the service is served on a unix socket, too, which
// clients on its host dial by themselves, whatever their credentials, policy and
// interceptors are. The default is true; it is without effect elsewhere than on
// Linux, without a registry, with WithListener or a unix address, and where
// WithAdvertise names anything but an IP address of this host with the port that
// is listened on: a proxy or a load balancer is not gone round.
//
// "On its host" is in its network namespace: containers with networks of their
// own, other hosts and clients that are not micro's come by TCP, as does
// everybody when the socket does not answer. It is abstract (it has no file), has
// a name of its own in each process, and is open to all processes of the namespace,
// as the port is; but firewall rules do not concern it. Credentials are those of
// the server, and TLS checks the same name.
//
// It gives 1.1 to 1.2 times the calls a second of one caller, 1.3 times those of 64
// callers with 64 KiB each, 1.1 times the messages of streams, and nothing that
// could be told from noise to 64 callers with 100 bytes (bench, beside TCP on
// loopback).
//
// For handlers and interceptors the peer of such a call (peer.FromContext) is a
// *net.UnixAddr and no IP address: switch it off where addresses decide who may
// call.
func WithLocalSocket(on bool) Option { return func(o *options) { o.localSocket = on } }

// WithShutdownTimeout bounds the stop, from when the drain delay is over until
// Run returns. The default is 20 s: below the 30 s that Kubernetes grants,
// above the 10 s that a subscription gives its handlers.
func WithShutdownTimeout(d time.Duration) Option { return func(o *options) { o.shutdownTimeout = d } }

// WithDrainDelay sets how long a stopping instance goes on serving after the
// registry says that it drains, so that every client has seen it. The default
// is 1 s; 0 without a registry and with one in this process, where clients see
// it at once.
func WithDrainDelay(d time.Duration) Option { return func(o *options) { o.drainDelay = d } }

// WithBroker hands b over: it is flushed and closed as the last step of the
// stop, when no handler and no subscription can use it any more.
func WithBroker(b pubsub.Broker) Option { return func(o *options) { o.brokers = append(o.brokers, b) } }

// WithLogger sets where to log each change of state. The default is
// slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

func newOptions(opts []Option) options {
	o := options{
		address:         ":0",
		reflection:      true,
		localSocket:     true,
		shutdownTimeout: defaultShutdownTimeout,
		drainDelay:      -1,
		logger:          slog.Default(),
	}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.id == "" {
		o.id = newID()
	}
	if o.drainDelay < 0 {
		o.drainDelay = 0
		if len(registryServers(o.registry)) > 0 {
			o.drainDelay = defaultDrainDelay
		}
	}
	return o
}

// check reports every bad option at once.
func (o *options) check() error {
	var errs []error
	if o.logger == nil {
		errs = append(errs, errors.New("micro: WithLogger(nil): leave the option out for slog.Default()"))
	}
	if o.shutdownTimeout <= 0 {
		errs = append(errs, fmt.Errorf("micro: WithShutdownTimeout(%v): it must be positive, for Run has to end", o.shutdownTimeout))
	}
	if slices.Contains(o.brokers, nil) {
		errs = append(errs, errors.New("micro: WithBroker(nil): leave the option out when there is no broker"))
	}
	if o.listener != nil && o.address != ":0" {
		errs = append(errs, fmt.Errorf("micro: both WithListener(%v) and WithAddress(%q): choose one", o.listener.Addr(), o.address))
	}
	return errors.Join(errs...)
}
