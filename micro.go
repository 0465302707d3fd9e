package micro

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"

	"github.com/grpc-micro/micro/resolver"
)

// Service is a grpc server that is found through a registry, with tasks beside
// it and one way to start and to stop. It is a grpc.ServiceRegistrar, so the
// stock grpc stubs register with it.
//
// Its methods are safe for concurrent use.
type Service struct {
	name          string
	opts          options
	serverOptions []grpc.ServerOption // ours, and then the user's
	services      services
	server        *grpc.Server // made by Run
	health        *health.Server
	calls         calls
	once          *once // nil but in a Function
	ready         chan struct{}
	started       atomic.Bool
	tasks         tasks

	mu       sync.Mutex // guards what follows; never held while calling out
	errs     []error
	addr     net.Addr
	announce *announcement // written once, by Run, which reads it without mu
}

var _ grpc.ServiceRegistrar = (*Service)(nil)

// New returns a service that is found as name, and under the full name of each
// grpc service that is registered with it. It does nothing until Run, which
// also reports what is wrong with name and opts.
func New(name string, opts ...Option) *Service { return newService(name, opts) }

// newService chains our interceptors, so that they go with any of the user's. A
// Function, which has one call, passes that it needs no workers.
func newService(name string, opts []Option, own ...grpc.ServerOption) *Service {
	s := &Service{
		name:     name,
		opts:     newOptions(opts),
		services: newServices(),
		health:   health.NewServer(),
		tasks:    tasks{failed: make(chan error, 1)},
		ready:    make(chan struct{}),
	}
	s.calls.stopping = make(chan struct{})
	own = append(own, grpc.WaitForHandlers(true), grpc.ChainStreamInterceptor(s.calls.stream))
	s.serverOptions = slices.Concat([]grpc.ServerOption{grpc.NumStreamWorkers(streamWorkers)}, own, s.opts.serverOptions)
	return s
}

// RegisterService registers a grpc service; generated code calls it. A
// mistake (a service registered twice, a handler of the wrong type, a call
// after Run) is reported by Run where grpc.Server would end the process.
func (s *Service) RegisterService(desc *grpc.ServiceDesc, impl any) {
	err := s.registrable(desc, impl)
	if err == nil && !s.services.add(desc, impl) {
		err = s.tooLate(desc)
	}
	if err != nil {
		s.reject(err)
	}
}

func (s *Service) tooLate(desc *grpc.ServiceDesc) error {
	return fmt.Errorf("micro: service %s: %s was registered after Run: register every grpc service before it", s.name, desc.ServiceName)
}

func (s *Service) registrable(desc *grpc.ServiceDesc, impl any) error {
	switch {
	case desc == nil:
		return fmt.Errorf("micro: service %s: RegisterService with a nil ServiceDesc: pass the generated one", s.name)
	case s.started.Load():
		return s.tooLate(desc)
	}
	if _, twice := s.services.GetServiceInfo()[desc.ServiceName]; twice {
		return fmt.Errorf("micro: service %s: %s was registered twice: use one handler, or a second Service", s.name, desc.ServiceName)
	}
	if desc.HandlerType == nil {
		return nil
	}
	want := reflect.TypeOf(desc.HandlerType).Elem()
	if impl == nil || !reflect.TypeOf(impl).Implements(want) {
		return fmt.Errorf("micro: service %s: a %T cannot serve %s: it has to implement %v", s.name, impl, desc.ServiceName, want)
	}
	return nil
}

// reject keeps err for Run. Once Run is past its checks the log is all that is
// left.
func (s *Service) reject(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
	if s.started.Load() && s.opts.logger != nil {
		s.opts.logger.Error("micro: too late", "service", s.name, "error", err)
	}
}

// GetServiceInfo lists the grpc services, as grpc.Server does; reflection asks.
func (s *Service) GetServiceInfo() map[string]grpc.ServiceInfo { return s.services.GetServiceInfo() }

// Go runs task beside the server: a subscription, a ticker. It starts when the
// server serves, or at once when it does already; Run waits for it. The
// context ends when the service stops fetching: after the drain delay, before
// calls are waited for. A task that returns an error, or panics, ends Run with
// that error; one that returns nil is just done. After the stop began a
// further task is not started.
func (s *Service) Go(task func(context.Context) error) {
	if task == nil {
		s.reject(fmt.Errorf("micro: service %s: Go(nil): pass a function", s.name))
		return
	}
	s.tasks.add(task)
}

// Ready is closed when the service listens, serves, and can be found in the
// registry, if it has one.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// Addr returns the address that is listened on, with the real port behind
// ":0", or nil before the service listens.
func (s *Service) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// check reports everything that keeps the service from running.
func (s *Service) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := resolver.ValidateService(s.name)
	if err != nil {
		err = fmt.Errorf("micro: %w", err)
	}
	return errors.Join(err, s.opts.check(), errors.Join(s.errs...))
}

// instances describes this process under each name by which it is found.
func (s *Service) instances(addrs []string, local string) []*resolver.Instance {
	insts := []*resolver.Instance{{
		ID: s.opts.id, Service: s.name, Version: s.opts.version, Zone: s.opts.zone,
		Addrs: addrs, Weight: s.opts.weight, Labels: s.opts.labels, Local: local,
	}}
	for name := range s.services.GetServiceInfo() {
		if name != s.name && !infrastructure(name) {
			inst := insts[0].Clone()
			inst.Service = name
			insts = append(insts, inst)
		}
	}
	return insts
}

// infrastructure reports whether a grpc service, or a method as grpc names it,
// is one of those that every server has. Nobody looks for them by name, and
// calling them does not use a Function up.
func infrastructure(name string) bool {
	name = strings.TrimPrefix(name, "/")
	return strings.HasPrefix(name, "grpc.health.") || strings.HasPrefix(name, "grpc.reflection.") || strings.HasPrefix(name, "grpc.channelz.")
}
