package balancer_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// serveLocal serves on a local socket, too, and returns what to announce.
func (s *server) serveLocal(t testing.TB) func(*resolver.Instance) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("abstract sockets are Linux's")
	}
	lis, local, err := resolver.ListenLocal(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(lis) }()
	return func(i *resolver.Instance) { i.Local = local }
}

// found is a client that finds instances in a registry.
func found(t testing.TB, policy string, d resolver.Discovery, opts ...grpc.DialOption) *channel {
	t.Helper()
	conn, err := grpc.NewClient("micro:///svc", append(opts, grpc.WithResolvers(resolver.NewBuilder(d)),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[`+policy+`]}`))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &channel{TestServiceClient: testpb.NewTestServiceClient(conn), conn: conn}
}

// elsewhere makes a client one that the local sockets do not concern.
var elsewhere = grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
})

// An instance stays the same one when its socket is another one, as after a
// restart, or gone: what is known of it stays, and no call fails.
func TestLocalSocketIsNoIdentity(t *testing.T) {
	t.Parallel()
	m := resolver.NewMemory()
	defer m.Close()
	a := newServer(t)
	reg, err := m.Register(deadline(t), a.instance("a", a.serveLocal(t)))
	if err != nil {
		t.Fatal(err)
	}
	ch := found(t, `{"micro_round_robin":{}}`, m)
	x := explain(t, deadline(t), ch.conn) // counts from here
	picks := uint64(0)
	call := func() {
		t.Helper()
		if err := ch.call(deadline(t)); err != nil {
			t.Fatal(err)
		}
		picks++
	}
	wait.Until(t, "calls to be counted", func() bool {
		call()
		x = explain(t, deadline(t), ch.conn)
		return x.Instances[0].Picks > 0
	})
	skipped := picks - x.Instances[0].Picks
	if want := "local socket, " + a.addr; !strings.Contains(x.String(), want) || !resolver.IsLocal(x.Instances[0].Addresses[0]) {
		t.Errorf("no %q in\n%s", want, x)
	}
	for version, local := range []func(*resolver.Instance){a.serveLocal(t), func(*resolver.Instance) {}, a.serveLocal(t)} {
		want := fmt.Sprint(version)
		if err := reg.Update(deadline(t), a.instance("a", local, func(i *resolver.Instance) { i.Version = want })); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, "the update", func() bool {
			call()
			x = explain(t, deadline(t), ch.conn)
			return x.Instances[0].Instance.Version == want && x.Instances[0].State == connectivity.Ready
		})
		// A pick of a connection that is just being replaced is made again.
		if len(x.Instances) != 1 || x.Instances[0].Picks < picks-skipped {
			t.Errorf("after %d calls, %d of them not counted: %v", picks, skipped, x)
		}
	}
}

// Two entries for one server, of which one died and has not left the registry
// yet, are one instance, whatever socket each has.
func TestLocalSocketOfTheDead(t *testing.T) {
	t.Parallel()
	m := resolver.NewMemory()
	defer m.Close()
	a, gone := newServer(t), newServer(t)
	dead := gone.serveLocal(t)
	gone.Stop()
	if _, err := m.Register(deadline(t), a.instance("a", dead), a.instance("b", a.serveLocal(t))); err != nil {
		t.Fatal(err)
	}
	ch := found(t, `{"micro_round_robin":{}}`, m)
	for range 10 {
		if err := ch.call(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(explain(t, deadline(t), ch.conn).Instances); got != 1 || a.conns.Load() != 1 {
		t.Errorf("%d instances and %d connections, want one", got, a.conns.Load())
	}
}

// A client has the same subset, and its keys have the same instances, whether it
// is on their host or not.
func TestLocalSocketChangesNoChoice(t *testing.T) {
	t.Parallel()
	m := resolver.NewMemory()
	defer m.Close()
	var insts []*resolver.Instance
	for n := range 8 {
		s := newServer(t)
		insts = append(insts, s.instance(fmt.Sprint(n), s.serveLocal(t)))
	}
	if _, err := m.Register(deadline(t), insts...); err != nil {
		t.Fatal(err)
	}
	chosen := func(policy string, use func(*channel), opts ...grpc.DialOption) (ids []string) {
		ch := found(t, policy, m, opts...)
		if err := balancer.WaitReady(deadline(t), ch.conn, 0); err != nil {
			t.Fatal(err)
		}
		_ = explain(t, deadline(t), ch.conn) // counts from here
		use(ch)
		for _, c := range explain(t, deadline(t), ch.conn).Instances {
			if c.State == connectivity.Ready && (c.Picks > 0 || strings.Contains(policy, "subset")) {
				ids = append(ids, c.Instance.ID)
			}
		}
		return ids
	}
	for policy, use := range map[string]func(*channel){
		`{"micro_round_robin":{"subset":{"size":3,"key":"client"}}}`: func(*channel) {},
		`{"micro_consistent_hash":{}}`: func(ch *channel) {
			for range 20 {
				if err := ch.call(balancer.WithHashKey(deadline(t), "key")); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		here, there := chosen(policy, use), chosen(policy, use, elsewhere)
		if !slices.Equal(here, there) || len(here) == 0 || len(here) == len(insts) {
			t.Errorf("%s: on their host %v, elsewhere %v", policy, here, there)
		}
	}
}
