package inbox_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/inbox"
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

// While the registry is away, publishers go on with the members last known; only
// a topic of which they know nothing has to wait.
func TestRegistryAway(t *testing.T) {
	t.Parallel()
	reg := newFaulty(newRegistry(t))
	b, members := newBroker(t, reg), newBroker(t, reg)
	hasty := newBroker(t, reg, inbox.WithPublishTimeout(200*time.Millisecond))
	r := newRecord()
	subscribe(t, members, "t", "g", r.handle)
	publish(t, b, "k", 0, 1)
	r.await(t, "the first event", func() bool { return r.count() == 1 })
	reg.set(away)
	publish(t, b, "k", 1, 5)
	r.await(t, "events without a registry", func() bool { return r.count() == 5 })
	err := hasty.Publish(t.Context(), &pubsub.Message{Topic: "other"})
	if !errors.Is(err, pubsub.ErrNotSent) || !strings.Contains(err.Error(), "the registry has not told the subscribers: publish timeout of 200ms") {
		t.Errorf("Publish to an unknown topic returned %v", err)
	}
	reg.set(well)
	patient, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := hasty.Publish(patient, &pubsub.Message{Topic: "other"}); err != nil {
		t.Errorf("the registry is back, and publishing does not work: %v", err)
	}
}

// A registry that shows nobody for a moment repeats nothing, neither to a group
// nor to a broadcast, and the group misses nothing.
func TestRegistryForgets(t *testing.T) {
	t.Parallel()
	reg := newFaulty(newRegistry(t))
	b, members := newBroker(t, reg), newBroker(t, reg)
	group, cast := newRecord(), newRecord()
	subscribe(t, members, "t", "g", group.handle)
	subscribe(t, members, "t", "", cast.handle)
	publish(t, b, "k", 0, 10)
	group.await(t, "the group gets 10", func() bool { return group.count() == 10 })
	cast.await(t, "the broadcast gets 10", func() bool { return cast.count() == 10 })
	reg.set(empty)
	publish(t, b, "k", 10, 15)
	reg.set(well)
	for n := 15; len(cast.of("k")) < 11; n++ { // until the broadcast is seen again
		publish(t, b, "k", n, n+1)
		group.await(t, "the group gets all", func() bool { return group.count() >= n+1 })
	}
	if got := group.of("k"); len(got) != len(slices.Compact(slices.Sorted(slices.Values(got)))) {
		t.Errorf("the group got repeats: %q", got)
	}
	if got := cast.of("k"); len(got) != len(slices.Compact(slices.Sorted(slices.Values(got)))) {
		t.Errorf("the broadcast got repeats: %q", got)
	}
}
