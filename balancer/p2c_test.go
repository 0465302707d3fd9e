package balancer_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
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

// Clients of package micro say of their streams that they are streams.
func TestStreamsOfMicroAreNoLatency(t *testing.T) {
	t.Parallel()
	a := newServer(t)
	reg := resolver.NewMemory()
	defer reg.Close()
	if _, err := reg.Register(deadline(t), a.instance("a")); err != nil {
		t.Fatal(err)
	}
	conn, err := micro.NewClient("svc", reg, micro.Insecure(), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"micro_p2c_ewma":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const life = 100 * time.Millisecond
	began := time.Now()
	stream, err := testpb.NewTestServiceClient(conn).HalfDuplexCall(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the stream to grow old", func() bool { return time.Since(began) > life })
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if got := explain(t, deadline(t), conn).Instances[0]; got.Latency != 0 {
		t.Errorf("a stream that lived for %v makes a latency of %v", life, got.Latency)
	}
	if _, err := testpb.NewTestServiceClient(conn).EmptyCall(deadline(t), &testpb.Empty{}); err != nil {
		t.Fatal(err)
	}
	if got := explain(t, deadline(t), conn).Instances[0]; got.Latency == 0 {
		t.Error("a call makes no latency")
	}
}

// Over real servers and connections, in virtual time: one of three is slow, and
// hardly called.
func TestP2CAvoidsTheSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b, c := inMemory(t, "a"), inMemory(t, "b"), inMemory(t, "c")
		ch := dialWith(t, `{"micro_p2c_ewma":{}}`, []grpc.DialOption{toMemory(a, b, c)}, a.instance("a"), b.instance("b"), c.instance("c"))
		ch.warm(t, a, b, c)
		a.hold = func(context.Context) { time.Sleep(50 * time.Millisecond) }
		b.hold = func(context.Context) { time.Sleep(time.Millisecond) }
		c.hold = b.hold
		for range 1000 { // one after the other, so that it is not the calls in flight that tell
			if err := ch.call(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
		// 1 call in 64 looks at nobody's latency, and a third of those go to a.
		if n := a.calls.Load(); n > 50 {
			t.Errorf("%d of 1,000 calls went to the slow one", n)
		}
		if x, y := b.calls.Load(), c.calls.Load(); x < 250 || y < 250 {
			t.Errorf("%d and %d calls at the quick ones", x, y)
		}
	})
}

// inMemory is a server whose connections are in memory, so that it works in the
// bubble of synctest.
func inMemory(t *testing.T, addr string) *server {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	s := serveOn(t, lis)
	s.addr, s.memory = addr, lis
	return s
}

// toMemory finds such servers.
func toMemory(servers ...*server) grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		for _, s := range servers {
			if s.addr == addr {
				return s.memory.DialContext(ctx)
			}
		}
		return nil, errors.New("nobody is there")
	})
}
