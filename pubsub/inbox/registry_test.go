package inbox_test

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/grpc-micro/micro/resolver"
)

// registry is one whose watches can be made to fail, or to see nobody.
type registry struct {
	resolver.Registry

	mu      sync.Mutex // guards what follows
	mode    mode
	changed chan struct{}
}

type mode int

const (
	well mode = iota
	away
	empty
)

func newFaulty(reg resolver.Registry) *registry {
	return &registry{Registry: reg, changed: make(chan struct{})}
}

func (r *registry) set(m mode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode = m
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *registry) Watch(ctx context.Context, service string) iter.Seq2[[]*resolver.Instance, error] {
	return func(yield func([]*resolver.Instance, error) bool) {
		for ctx.Err() == nil {
			r.mu.Lock()
			mode, changed := r.mode, r.changed
			r.mu.Unlock()
			if mode == away {
				yield(nil, errors.New("the registry is away"))
				return
			}
			now, cancel := context.WithCancel(ctx)
			stop := make(chan struct{})
			go func() {
				defer close(stop)
				select {
				case <-changed:
					cancel()
				case <-now.Done():
				}
			}()
			goOn := true
			if mode == empty {
				goOn = yield(nil, nil)
				if goOn {
					<-now.Done()
				}
			} else {
				for insts, err := range r.Registry.Watch(now, service) {
					if goOn = yield(insts, err) && err == nil; !goOn {
						break
					}
				}
			}
			cancel()
			<-stop
			if !goOn {
				return
			}
		}
	}
}
