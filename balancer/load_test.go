package balancer_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// Servers come and go under load, announced as a registry does: drained, then
// gone, then stopped. No call fails, whatever its policy, and whatever it and
// its connection say.
func TestComingAndGoingUnderLoad(t *testing.T) {
	t.Parallel()
	const all = `"zoneFirst":{"zone":"a"},"ejection":{"latencyFactor":1000},"connectionsPerInstance":2,"subset":{"size":4},
		"tiers":[{"zone":"a"},"any"],"methods":{"grpc.testing.TestService":{"filter":{"versionRange":"^1"}}}`
	for _, policy := range policies {
		for _, config := range []string{``, all + `,"slowStart":{"window":"50ms"}`} {
			if policy == balancer.Hash && config != "" {
				config = all
			}
			name := policy
			if config != "" {
				name += " with everything"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				comeAndGo(t, `{"`+policy+`":{`+config+`}}`)
			})
		}
	}
}

func comeAndGo(t *testing.T, config string) {
	live := []*server{newServer(t), newServer(t), newServer(t)}
	set := func(drain int) (insts []*resolver.Instance) {
		for n, s := range live {
			inst := s.instance(s.addr, version("1.0.0"), zone("a"))
			inst.Draining = n == drain
			insts = append(insts, inst)
		}
		return insts
	}
	ch := dial(t, config, set(-1)...)
	ch.warm(t, live...)
	var calls atomic.Int64
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for n, say := range []func(context.Context) context.Context{
		func(ctx context.Context) context.Context { return ctx },
		func(ctx context.Context) context.Context { return balancer.WithFilter(ctx, balancer.Version("1.0.0")) },
		func(ctx context.Context) context.Context {
			return balancer.WithTiers(ctx, balancer.Zone("nowhere"), balancer.Zone("a"))
		},
		func(ctx context.Context) context.Context { return balancer.WithHashKey(ctx, "key") },
	} {
		ctx := deadline(t)
		kept := say(ctx)
		callers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				said := kept
				if i%2 == 0 {
					said = say(ctx)
				}
				if err := ch.call(said); err != nil {
					t.Errorf("caller %d: %v", n, err)
					return
				}
				if i%16 == 0 {
					callStream(said, t, ch)
				}
				if i%64 == 0 {
					if _, err := balancer.Explain(said, ch.conn, method); err != nil {
						t.Error(err)
					}
				}
				calls.Add(1)
			}
		})
	}
	for range 4 {
		live = append(live, newServer(t))
		ch.update(set(-1)...)
		if err := balancer.WaitReady(deadline(t), ch.conn, 3); err != nil {
			t.Error(err)
		}
		ch.update(set(0)...)
		old := live[0]
		live = live[1:]
		ch.update(set(-1)...)
		old.GracefulStop()
		at := calls.Load()
		wait.Until(t, "more calls", func() bool { return calls.Load() > at+30 || t.Failed() })
	}
	close(stop)
	callers.Wait()
	t.Logf("%d calls, none failed", calls.Load())
}

// callStream opens a stream; the server has no handler for it.
func callStream(ctx context.Context, t *testing.T, ch *channel) {
	t.Helper()
	stream, err := ch.FullDuplexCall(balancer.WithStream(ctx))
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("stream: %v", err)
	}
}
