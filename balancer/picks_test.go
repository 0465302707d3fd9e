package balancer_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	grpcbalancer "google.golang.org/grpc/balancer"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// picks is a balancer over fake connections, asked for picks.
type picks struct {
	conn   *fakeConn
	update func([]*resolver.Instance)
}

// newPicks returns one whose n instances are all connected.
func newPicks(t testing.TB, policy, config string, insts []*resolver.Instance) *picks {
	t.Helper()
	cc, b, update := bringUp(t, policy, config, insts)
	t.Cleanup(b.Close)
	update(insts) // publishes what is up
	return &picks{cc, update}
}

// updateAndConnect takes over a set in which so many are new, and connects them.
func (p *picks) updateAndConnect(insts []*resolver.Instance, added int) {
	p.update(insts)
	for range added {
		(<-p.conn.dialed).up()
	}
	p.update(insts) // publishes what is up
}

// next picks for a call, which is answered at once, and returns where it went.
func (p *picks) next(t testing.TB) string {
	t.Helper()
	return p.nextFor(t, context.Background())
}

func (p *picks) nextFor(t testing.TB, ctx context.Context) string {
	t.Helper()
	return p.nextOf(t, ctx, "/svc/Method")
}

func (p *picks) nextOf(t testing.TB, ctx context.Context, method string) string {
	t.Helper()
	picker, pickers := p.conn.latest()
	res, err := picker.Pick(grpcbalancer.PickInfo{Ctx: ctx, FullMethodName: method})
	if errors.Is(err, grpcbalancer.ErrNoSubConnAvailable) { // grpc waits, too
		wait.Until(t, "the next picker", func() bool { _, now := p.conn.latest(); return now > pickers })
		return p.nextOf(t, ctx, method)
	}
	if err != nil {
		t.Fatal(err)
	}
	if res.Done != nil {
		res.Done(answered)
	}
	return res.SubConn.(*fakeSub).addr
}

// sub returns the connection that a call goes over.
func (p *picks) sub(t testing.TB) *fakeSub {
	t.Helper()
	picker, _ := p.conn.latest()
	res, err := picker.Pick(grpcbalancer.PickInfo{Ctx: context.Background()})
	if err != nil {
		t.Fatal(err)
	}
	return res.SubConn.(*fakeSub)
}

// refusal returns the error of a pick.
func refusal(ctx context.Context, cc *fakeConn) error {
	p, _ := cc.latest()
	_, err := p.Pick(grpcbalancer.PickInfo{Ctx: ctx})
	return err
}

// settle waits until n connected instances are in the picker.
func settle(t testing.TB, cc *fakeConn, n int) {
	t.Helper()
	seen := map[string]bool{}
	wait.Until(t, "the picker of all", func() bool {
		p, _ := cc.latest()
		for range 30 * n {
			key := grpcbalancer.PickInfo{Ctx: balancer.WithHashKey(context.Background(), rand.Text())}
			res, err := p.Pick(key)
			if err != nil {
				t.Fatal(err)
			}
			if res.Done != nil {
				res.Done(grpcbalancer.DoneInfo{})
			}
			seen[res.SubConn.(*fakeSub).addr] = true
		}
		return len(seen) == n
	})
}
