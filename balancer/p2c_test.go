package balancer_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/balancer"
)

// watched is a policy that shows what is learnt of its endpoints.
var watched atomic.Pointer[[]*balancer.Endpoint]

func init() {
	balancer.Register("test_watched", func(json.RawMessage) (balancer.Policy, error) {
		return func(ready []*balancer.Endpoint) balancer.Picker {
			watched.Store(&ready)
			return func(grpcbalancer.PickInfo) *balancer.Endpoint { return ready[0] }
		}, nil
	}, balancer.TrackLatency())
}

var answered = grpcbalancer.DoneInfo{BytesSent: true, BytesReceived: true}

// What is learnt follows peaks at once, forgets them by and by, outlives every
// change of the set, and learns nothing from picks that were not used and from
// the lives of streams.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		insts := fleet(1)
		cc, b, update := bringUp(t, "test_watched", `{"latency":{"decay":"10s","failurePenalty":"1s"}}`, insts)
		defer b.Close()
		call := func(ctx context.Context, took time.Duration, info grpcbalancer.DoneInfo) time.Duration {
			t.Helper()
			p, _ := cc.latest()
			res, err := p.Pick(grpcbalancer.PickInfo{Ctx: ctx})
			if err != nil {
				t.Fatal(err)
			}
			e := (*watched.Load())[0]
			if e.InFlight() != 1 {
				t.Fatalf("%d calls in flight, want 1", e.InFlight())
			}
			time.Sleep(took)
			res.Done(info)
			if e.InFlight() != 0 {
				t.Fatalf("%d calls in flight, want 0", e.InFlight())
			}
			return e.Latency()
		}
		bg := context.Background()
		failed := func(code codes.Code) grpcbalancer.DoneInfo {
			return grpcbalancer.DoneInfo{Err: status.Error(code, ""), BytesSent: true}
		}
		refused := grpcbalancer.DoneInfo{Err: status.Error(codes.Unavailable, ""), BytesSent: true, Trailer: metadata.Pairs("micro-refused", "1")}
		for _, step := range []struct {
			name      string
			ctx       context.Context
			took      time.Duration
			info      grpcbalancer.DoneInfo
			low, high time.Duration
		}{
			{"the first", bg, 10 * time.Millisecond, answered, 10 * time.Millisecond, 10 * time.Millisecond},
			{"not used", bg, time.Microsecond, grpcbalancer.DoneInfo{}, 10 * time.Millisecond, 10 * time.Millisecond},
			{"a stream", balancer.WithStream(bg), time.Hour, answered, 10 * time.Millisecond, 10 * time.Millisecond},
			{"a peak", bg, 100 * time.Millisecond, answered, 100 * time.Millisecond, 100 * time.Millisecond},
			{"quick again, soon", bg, 10 * time.Millisecond, answered, 99 * time.Millisecond, 100 * time.Millisecond},
			{"an error of the application", bg, 10 * time.Millisecond, failed(codes.NotFound), 99 * time.Millisecond, 100 * time.Millisecond},
			{"refused by a function", bg, 10 * time.Millisecond, refused, 99 * time.Millisecond, 100 * time.Millisecond},
			{"given up by the caller", bg, time.Millisecond, failed(codes.Canceled), 99 * time.Millisecond, 100 * time.Millisecond},
			{"failed at once", bg, time.Millisecond, failed(codes.Unavailable), time.Second, time.Second},
		} {
			got := call(step.ctx, step.took, step.info)
			if got < step.low || got > step.high {
				t.Errorf("%s: latency %v, want %v to %v", step.name, got, step.low, step.high)
			}
		}
		insts[0] = insts[0].Clone()
		insts[0].Version = "v9"
		update(insts)
		time.Sleep(10 * time.Second)
		if got := call(bg, 0, answered); got < 490*time.Millisecond || got > 510*time.Millisecond {
			t.Errorf("after the decay, an update and a call of no time: %v, want half a second", got)
		}
	})
}

// Over real servers: one of three is slow, and hardly called.
func TestP2CAvoidsTheSlow(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	ch := dial(t, `{"micro_p2c_ewma":{}}`, a.instance("a"), b.instance("b"), c.instance("c"))
	ch.warm(t, a, b, c)
	a.hold = func(ctx context.Context) {
		select {
		case <-time.After(250 * time.Millisecond): // longer than a busy machine makes the others
		case <-ctx.Done():
		}
	}
	parallel(4, func(int) {
		for range 250 {
			if err := ch.call(deadline(t)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	// 1 call in 64 looks at nobody's latency, and a third of those go to a.
	if n := a.calls.Load(); n > 50 {
		t.Errorf("%d of 1,000 calls went to the slow one", n)
	}
	if x, y := b.calls.Load(), c.calls.Load(); x < 250 || y < 250 {
		t.Errorf("%d and %d calls at the quick ones", x, y)
	}
}
