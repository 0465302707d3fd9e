package inbox

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Option sets something of a Broker.
type Option func(*options)

// WithAddress sets where the server for subscriptions listens: host:port, port 0
// for any. Default: "127.0.0.1:0", which only this machine reaches.
func WithAddress(addr string) Option { return func(o *options) { o.address = addr } }

// WithAdvertise sets the address that is registered, where publishers reach
// another one than the server listens at. Default: that of the server; one that
// listens at all addresses needs it.
func WithAdvertise(addr string) Option { return func(o *options) { o.advertise = addr } }

// WithTLS sets the TLS of the server for subscriptions, and that of a publisher
// as its client. A publisher checks the host that is registered; give both sides
// certificates, and ClientAuth to the server, so that nobody else hands out
// events.
func WithTLS(server, client *tls.Config) Option {
	return func(o *options) { o.server, o.client = credentials.NewTLS(server), credentials.NewTLS(client) }
}

// WithInsecure goes without TLS: whoever reaches the port can hand out events,
// and whoever reads the network reads them. For development, and for networks
// that encrypt by themselves.
func WithInsecure() Option {
	return func(o *options) { o.server, o.client = insecure.NewCredentials(), insecure.NewCredentials() }
}

// WithRetention sets how many of the newest events of a topic a publisher keeps
// in memory. Default: 4096.
func WithRetention(events int) Option { return func(o *options) { o.retention = events } }

// WithPublishTimeout bounds a Publish whose context has no deadline. Default:
// 30 s.
func WithPublishTimeout(d time.Duration) Option { return func(o *options) { o.publish = d } }

// WithLogger sets where it is logged that members do not take events; what
// belongs to one subscription goes to that one's logger. Default:
// slog.Default().
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

type options struct {
	address, advertise string
	server, client     credentials.TransportCredentials
	retention          int
	publish            time.Duration
	logger             *slog.Logger
}

func newOptions(opts []Option) (options, error) {
	o := options{address: "127.0.0.1:0", retention: 4096, publish: 30 * time.Second, logger: slog.Default()}
	for _, opt := range opts {
		if opt == nil {
			return o, errors.New("inbox: nil Option")
		}
		opt(&o)
	}
	return o, o.check()
}

func (o *options) check() error {
	host, _, err := net.SplitHostPort(o.address)
	switch {
	case err != nil:
		return fmt.Errorf("inbox: address %q: give host:port: %w", o.address, err)
	case o.advertise == "" && unspecified(host):
		return fmt.Errorf("inbox: address %q: publishers cannot dial it: say which address they reach (WithAdvertise)", o.address)
	case o.advertise != "":
		host, port, err := net.SplitHostPort(o.advertise)
		if err != nil || port == "" || unspecified(host) {
			return fmt.Errorf("inbox: advertised address %q: give a host and a port that publishers can dial", o.advertise)
		}
	}
	switch {
	case o.server == nil || o.client == nil:
		return errors.New("inbox: no credentials: use WithTLS, or WithInsecure for development")
	case o.retention < 1:
		return fmt.Errorf("inbox: retention of %d: at least 1 event must fit", o.retention)
	case o.publish <= 0:
		return fmt.Errorf("inbox: publish timeout %v: it must be above 0", o.publish)
	case o.logger == nil:
		return errors.New("inbox: nil logger: use slog.DiscardHandler for silence")
	}
	return nil
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}
