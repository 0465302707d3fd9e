package resolver

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/serviceconfig"
)

// Configurer is a registry that keeps a grpc service config for a service:
// timeouts, retries, the policy and its parameters, changed while clients run.
// etcd and Memory are. NewBuilder hands it to grpc.
type Configurer interface {
	// SetServiceConfig keeps json for the clients of service, in the place of what
	// was there; "" takes it away. No lease is on it. It blocks on the registry, at
	// most until ctx ends. Safe for concurrent use. Use the function of this name,
	// which checks json.
	SetServiceConfig(ctx context.Context, service, json string) error

	// WatchServiceConfig yields what is kept for service, "" for nothing: now, and
	// after each change. Otherwise it is as Discovery.Watch.
	WatchServiceConfig(ctx context.Context, service string) iter.Seq2[string, error]
}

// SetServiceConfig checks json as grpc does, and keeps it in r for the clients
// of service. It takes the place of a client's default service config as a whole,
// which for clients of package micro has health checks and, for generated ones,
// what the .proto says. "" takes it away: a new client has its default then, and
// one that runs keeps what it has, as grpc does, until it gets another. Policies
// must be known here to be checked: import _ "github.com/grpc-micro/micro/balancer".
func SetServiceConfig(ctx context.Context, r Discovery, service, json string) error {
	if err := ValidateService(service); err != nil {
		return err
	}
	c, ok := r.(Configurer)
	if !ok {
		return fmt.Errorf("resolver: service config of %s: a %T keeps none: give it to clients with grpc.WithDefaultServiceConfig", service, r)
	}
	if err := checkServiceConfig(json); err != nil {
		return fmt.Errorf("resolver: service config of %s: %w", service, err)
	}
	return c.SetServiceConfig(ctx, service, json)
}

// checkServiceConfig asks grpc, which exports no other way.
func checkServiceConfig(json string) error {
	if json == "" {
		return nil
	}
	conn, err := grpc.NewClient("passthrough:///none", grpc.WithDefaultServiceConfig(json), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	return conn.Close()
}

// configWatch is the part of a watch that follows the service config. Its fields
// are guarded by the mutex of the watch.
type configWatch struct {
	json    string
	settled bool // the registry has answered, has failed to, or keeps none
}

// runConfig follows the service config until ctx ends or the registry is closed.
// Whatever goes wrong, the last one stays.
func (w *watch) runConfig(ctx context.Context, c Configurer) {
	retry, down := newBackoff(), false
	for {
		err := errors.New("it ended without a reason")
		for json, watchErr := range c.WatchServiceConfig(ctx, w.service) {
			if watchErr != nil {
				err = watchErr
				break
			}
			down = false
			w.configure(json)
		}
		w.settleConfig()
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return
		}
		if !down {
			w.logger.Warn("resolver: service config cannot be watched, keeping the last one and trying again", "service", w.service, "error", err)
			down = true
		}
		if !retry.pause(ctx, nil) {
			return
		}
	}
}

func (w *watch) configure(json string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.config.settled && w.config.json == json {
		return
	}
	if json != w.config.json {
		w.logger.Info("resolver: service config changed", "service", w.service, "config", json)
	}
	w.config = configWatch{json, true}
	w.set(w.state)
}

// settleConfig lets clients begin without a config, if there is no answer.
func (w *watch) settleConfig() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.config.settled {
		w.config.settled = true
		w.set(w.state)
	}
}

// parsed returns what cc makes of the config; a broken one leaves the last good
// one in force.
func (r *clientResolver) parsed(json string) *serviceconfig.ParseResult {
	if json == r.json {
		return r.config
	}
	r.json = json
	if json == "" {
		r.config = nil // grpc goes on with what it has, or with the client's default
		return nil
	}
	config := r.cc.ParseServiceConfig(json)
	if config.Err != nil {
		r.watch.logger.Error("resolver: ignoring a service config that grpc refuses, keeping the last good one", "service", r.watch.service, "config", json, "error", config.Err)
		return r.config
	}
	r.config = config
	return config
}
