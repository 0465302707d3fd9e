package resolvertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/grpc-micro/micro/resolver"
)

// view is a watch, and what it yielded so far.
type view struct {
	t        *testing.T
	service  string
	registry resolver.Registry
	yields   chan yield
	last     []*resolver.Instance
	markers  int
}

type yield struct {
	snapshot []*resolver.Instance
	err      error
}

// watch starts a watch, which ends with the test, and waits for its first
// snapshot.
func watch(t *testing.T, r resolver.Registry, service string) *view {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	v := &view{t: t, service: service, registry: r, yields: make(chan yield)}
	go func() {
		defer close(v.yields)
		for snapshot, err := range r.Watch(ctx, service) {
			select {
			case v.yields <- yield{snapshot, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range v.yields { //nolint:revive // until the watch has ended
		}
	})
	v.next()
	return v
}

// next waits for the next snapshot, and checks what holds for each of them.
func (v *view) next() []*resolver.Instance {
	v.t.Helper()
	select {
	case y, ok := <-v.yields:
		if !ok {
			v.t.Fatalf("the watch of %s ended without an error", v.service)
		}
		if y.err != nil {
			v.t.Fatalf("watch of %s: %v", v.service, y.err)
		}
		for i, inst := range y.snapshot {
			if inst.Service != v.service {
				v.t.Fatalf("the watch of %s yields %s of %s", v.service, inst.ID, inst.Service)
			}
			if i > 0 && y.snapshot[i-1].ID >= inst.ID {
				v.t.Fatalf("the snapshot is not sorted by ID: %s before %s", y.snapshot[i-1].ID, inst.ID)
			}
		}
		v.last = y.snapshot
	case <-time.After(patience):
		v.t.Fatalf("the watch of %s yields nothing more; last %s", v.service, describe(v.last))
	}
	return v.last
}

// wait waits until the view is exactly want, by value and in any order.
func (v *view) wait(want ...*resolver.Instance) []*resolver.Instance {
	v.t.Helper()
	deadline := time.Now().Add(patience)
	for !same(v.last, want) {
		if time.Now().After(deadline) {
			v.t.Fatalf("the view of %s is %s, want %s", v.service, describe(v.last), describe(want))
		}
		v.next()
	}
	return v.last
}

// settle makes sure that the view has seen everything that happened before: it
// registers a marker and waits for it. The marker is withdrawn and waited for
// again, so that the view is what it would be without.
func (v *view) settle() []*resolver.Instance {
	v.t.Helper()
	v.markers++
	id := fmt.Sprintf("zzz-marker-%d", v.markers)
	reg := mustRegister(v.t, v.registry, instance(v.service, id))
	for find(v.last, id) == nil {
		v.next()
	}
	mustDeregister(v.t, reg)
	for find(v.last, id) != nil {
		v.next()
	}
	return v.last
}

func find(snapshot []*resolver.Instance, id string) *resolver.Instance {
	for _, inst := range snapshot {
		if inst.ID == id {
			return inst
		}
	}
	return nil
}

func same(got, want []*resolver.Instance) bool {
	for _, inst := range want {
		if !inst.Equal(find(got, inst.ID)) {
			return false
		}
	}
	return len(got) == len(want)
}

func describe(insts []*resolver.Instance) string {
	if len(insts) > 5 {
		return fmt.Sprintf("%d instances", len(insts))
	}
	texts := make([]string, len(insts))
	for i, inst := range insts {
		texts[i] = fmt.Sprintf("%+v", *inst)
	}
	return "[" + strings.Join(texts, " ") + "]"
}
