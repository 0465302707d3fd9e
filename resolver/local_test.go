package resolver_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// listenLocal serves on a local socket until the test ends.
func listenLocal(t testing.TB) (s *grpc.Server, local string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("abstract sockets are Linux's")
	}
	lis, local, err := resolver.ListenLocal(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	s = grpc.NewServer()
	testpb.RegisterTestServiceServer(s, echoServer{})
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(s.Stop)
	return s, local
}

// localChild, in the environment, makes this test binary a process that says how
// it would announce a local socket.
const localChild = "MICRO_TEST_LOCAL"

func sayLocal() error {
	lis, local, err := resolver.ListenLocal(context.Background())
	if err != nil {
		return err
	}
	fmt.Println(local)
	return lis.Close()
}

// Who is on the instance's host comes by its socket, and everyone else, or
// whoever gets no answer there, by TCP, with the first call.
func TestLocalSocket(t *testing.T) {
	t.Parallel()
	_, local := listenLocal(t)
	_, gone := listenLocal(t)
	host, name, _ := strings.Cut(local, "/")
	deaf, deafLocal := listenLocal(t)
	deaf.Stop()
	tcp := server(t)
	for test, c := range map[string]struct{ local, want string }{
		"here":                     {local, "@micro/" + name},
		"nowhere":                  {"", tcp},
		"on another host":          {"0123456789abcdef0123/" + name, tcp},
		"of another boot":          {strings.ToUpper(host) + "/" + name, tcp},
		"without a name":           {host + "/", tcp},
		"without a host":           {"/" + name, tcp},
		"without anything":         {"/", tcp},
		"of a host that begins so": {host + "0/" + name, tcp},
		"of nobody":                {gone + "0", tcp},
		"with a name too long":     {host + "/" + strings.Repeat("n", 200), tcp},
		"with another form":        {host + "/a:/b", tcp},
		"of a server that is gone": {deafLocal, tcp},
	} {
		t.Run(test, func(t *testing.T) {
			t.Parallel()
			m := memory(t)
			inst := instance("a", tcp)
			inst.Local = c.local
			register(t, m, inst)
			connect(t, m, c.want)
		})
	}
}

// connect returns a client whose calls want answers. The first call has to succeed,
// and by TCP the first client is one; but pick_first tries TCP, too, when a busy
// machine takes 250 ms for a handshake on the socket.
func connect(t *testing.T, d resolver.Discovery, want string) (conn *grpc.ClientConn) {
	t.Helper()
	wait.Until(t, "calls to be answered by "+want, func() bool {
		conn = dial(t, "micro:///svc", d)
		got, err := call(deadline(t), conn)
		if err != nil || got != want && !strings.HasPrefix(want, "@") {
			t.Fatalf("the first call was answered by %s, %v; want %s", got, err, want)
		}
		return got == want
	})
	return conn
}

// A dialer of the user's is asked for what can be dialled from anywhere, also
// beside clients that share its watch and have none.
func TestLocalSocketAndDialer(t *testing.T) {
	t.Parallel()
	m, tcp := memory(t), server(t)
	_, local := listenLocal(t)
	inst := instance("a", tcp)
	inst.Local = local
	register(t, m, inst)
	var dialed sync.Map
	conn, err := grpc.NewClient("micro:///svc", grpc.WithResolvers(resolver.NewBuilder(m, resolver.WithLogger(quiet))),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			dialed.Store(addr, true)
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := call(deadline(t), conn); err != nil || got != tcp {
		t.Errorf("answered by %s, %v, want %s", got, err, tcp)
	}
	dialed.Range(func(addr, _ any) bool {
		if addr != tcp {
			t.Errorf("the dialer was asked for %s", addr)
		}
		return true
	})
	_, name, _ := strings.Cut(local, "/")
	connect(t, m, "@micro/"+name)
}

// A socket that is closed under load costs no call.
func TestLocalSocketCloses(t *testing.T) {
	t.Parallel()
	m, tcp := memory(t), server(t)
	s, local := listenLocal(t)
	inst := instance("a", tcp)
	inst.Local = local
	register(t, m, inst)
	_, name, _ := strings.Cut(local, "/")
	conn := connect(t, m, "@micro/"+name)
	var bySocket, byTCP atomic.Int64
	ctx, stop := context.WithCancel(deadline(t))
	var callers sync.WaitGroup
	defer callers.Wait()
	defer stop()
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				switch from, err := call(deadline(t), conn); {
				case err != nil:
					t.Errorf("a call failed: %v", err)
					return
				case from == tcp:
					byTCP.Add(1)
				default:
					bySocket.Add(1)
				}
			}
		})
	}
	wait.Until(t, "calls by the socket", func() bool { return bySocket.Load() >= 200 })
	s.GracefulStop()
	wait.Until(t, "calls by TCP", func() bool { return byTCP.Load() >= 200 })
}

func TestIsLocal(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{"unix:@micro/name": true, "unix:///run/micro/name": false, "unix:@other": false, "127.0.0.1:80": false} {
		if got := resolver.IsLocal(grpcresolver.Address{Addr: addr}); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}
