package micro_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/internal/certs"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

func needsLocalSockets(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("abstract sockets are Linux's")
	}
}

// seen is a server that keeps whom the last call came from.
type seen struct {
	server

	peer      atomic.Pointer[peer.Peer]
	authority atomic.Value
}

func newSeen(id string) *seen {
	s := &seen{server: server{id: id}}
	s.unary = func(ctx context.Context) error {
		p, _ := peer.FromContext(ctx)
		md, _ := metadata.FromIncomingContext(ctx)
		s.peer.Store(p)
		s.authority.Store(strings.Join(md.Get(":authority"), ","))
		return nil
	}
	return s
}

// over checks what the calls of a client come over. The first client's do, but for
// the socket: pick_first tries TCP, too, when a busy machine takes 250 ms for a
// handshake there.
func (s *seen) over(t *testing.T, want string, client func() testpb.TestServiceClient) {
	t.Helper()
	wait.Until(t, "calls over "+want, func() bool {
		if got, err := call(deadline(t), client()); err != nil || got != s.id {
			t.Fatalf("%q, %v", got, err)
		}
		got := s.peer.Load().Addr.Network()
		if got != want && want != "unix" {
			t.Fatalf("a call came over %s, want %s", got, want)
		}
		return got == want
	})
}

// Calls on one host go over a unix socket without anybody's doing, unless it is
// switched off, or somebody chose how the service is reached.
func TestLocalSocket(t *testing.T) {
	t.Parallel()
	needsLocalSockets(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := "127.0.0.2"
	if addrs := interfaceAddrs(t); len(addrs) > 0 {
		own = addrs[0]
	}
	for name, test := range map[string]struct {
		opts []micro.Option
		want string // the network of a call; "": none arrives, and the socket is not announced
	}{
		"by default":                   {nil, "unix"},
		"on every interface":           {[]micro.Option{micro.WithAddress(":0")}, "unix"},
		"advertised on loopback":       {[]micro.Option{micro.WithAddress(":0"), micro.WithAdvertise("127.0.0.1")}, "unix"},
		"advertised on an interface":   {[]micro.Option{micro.WithAddress(":0"), micro.WithAdvertise(own)}, "unix"},
		"switched off":                 {[]micro.Option{micro.WithLocalSocket(false)}, "tcp"},
		"behind a name":                {[]micro.Option{micro.WithAdvertise("localhost")}, "tcp"},
		"behind another host":          {[]micro.Option{micro.WithAddress(":0"), micro.WithAdvertise("192.0.2.1")}, ""},
		"behind another port":          {[]micro.Option{micro.WithAdvertise("127.0.0.1:1")}, ""},
		"behind an IP not listened on": {[]micro.Option{micro.WithAdvertise("127.0.0.2")}, ""},
		"on a listener of the user's":  {[]micro.Option{micro.WithAddress(":0"), micro.WithListener(lis)}, "tcp"},
		"on a unix socket of the user": {[]micro.Option{micro.WithAddress("unix://" + t.TempDir() + "/s.sock")}, "unix"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg, srv := memory(t), newSeen("a")
			svc := micro.New("test", serviceOptions(reg, &srv.server, test.opts)...)
			testpb.RegisterTestServiceServer(svc, srv)
			r := run(t, svc)
			announced := first(t, reg, "test")[0]
			if on := announced.Local != ""; on != (test.want == "unix" && r.Addr().Network() == "tcp") {
				t.Errorf("announced as %+v", announced)
			}
			if test.want == "" {
				return
			}
			srv.over(t, test.want, func() testpb.TestServiceClient { return dial(t, "test", reg) })
		})
	}
}

// interfaceAddrs returns the IPv4 addresses of this machine that are not on
// loopback.
func interfaceAddrs(t *testing.T) (out []string) {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, _, err := net.ParseCIDR(a.String()); err == nil && !ip.IsLoopback() && ip.To4() != nil {
			out = append(out, ip.String())
		}
	}
	return out
}

// The socket is announced with its instance through every change, under each
// name, and a plain client with our resolver finds it, too.
func TestLocalSocketStays(t *testing.T) {
	t.Parallel()
	needsLocalSockets(t)
	reg, srv := memory(t), newSeen("a")
	svc := micro.New("test", serviceOptions(reg, &srv.server, nil)...)
	testpb.RegisterTestServiceServer(svc, srv)
	r := run(t, svc)
	before := first(t, reg, "test")[0].Local
	if err := r.Update(deadline(t), func(i *resolver.Instance) { i.Draining, i.Labels = true, nil }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"test", testService} {
		if got := first(t, reg, name)[0]; !got.Draining || got.Local != before || before == "" {
			t.Errorf("%s: announced as %+v, want the local socket %s", name, got, before)
		}
	}
	srv.over(t, "unix", func() testpb.TestServiceClient {
		conn, err := grpc.NewClient("micro:///test", grpc.WithResolvers(resolver.NewBuilder(reg)), micro.Insecure())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return testpb.NewTestServiceClient(conn)
	})
}

// With mutual TLS both sides check on the socket what they check over TCP.
func TestLocalSocketTLS(t *testing.T) {
	t.Parallel()
	needsLocalSockets(t)
	ca, err := certs.New()
	if err != nil {
		t.Fatal(err)
	}
	issue := func(host string) []tls.Certificate {
		cert, err := ca.Issue(host)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{cert}
	}
	reg, srv := memory(t), newSeen("a")
	svc := micro.New("test", serviceOptions(reg, &srv.server, []micro.Option{micro.WithServerOptions(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: issue("test"), ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	})))})...)
	testpb.RegisterTestServiceServer(svc, srv)
	run(t, svc)
	client := func(name string, cert []tls.Certificate) testpb.TestServiceClient {
		return dial(t, name, reg, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			Certificates: cert, RootCAs: ca.Pool(), MinVersion: tls.VersionTLS13,
		})))
	}
	srv.over(t, "unix", func() testpb.TestServiceClient { return client("test", issue("caller")) })
	info, ok := srv.peer.Load().AuthInfo.(credentials.TLSInfo)
	if !ok || info.State.PeerCertificates[0].Subject.CommonName != "caller" || srv.authority.Load() != "test" {
		t.Errorf("the server saw %+v, and the authority %v", srv.peer.Load().AuthInfo, srv.authority.Load())
	}
	if _, err := call(deadline(t), client(testService, issue("caller"))); err == nil || !strings.Contains(err.Error(), "not "+testService) {
		t.Errorf("the certificate is for another name: %v", err)
	}
	if _, err := call(deadline(t), client("test", nil)); err == nil {
		t.Error("a client without a certificate came in")
	}
}

// Calls that came by the socket are waited for like any others.
func TestLocalSocketDrains(t *testing.T) {
	t.Parallel()
	needsLocalSockets(t)
	reg := memory(t)
	running, goOn := make(chan struct{}), make(chan struct{})
	srv := newSeen("a")
	srv.duo = func(testpb.TestService_FullDuplexCallServer) error {
		close(running)
		<-goOn
		return nil
	}
	r := run(t, newService(reg, &srv.server))
	local := first(t, reg, "test")[0].Local
	var c testpb.TestServiceClient
	srv.over(t, "unix", func() testpb.TestServiceClient {
		c = dial(t, "test", reg)
		return c
	})
	answered := make(chan error, 1)
	go func() {
		duo, err := c.FullDuplexCall(deadline(t))
		if err == nil {
			_, err = duo.Recv()
		}
		answered <- err
	}()
	select {
	case <-running:
	case err := <-answered:
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	wait.Until(t, "the service to withdraw", func() bool { return len(first(t, reg, "test")) == 0 })
	close(goOn)
	if err := <-answered; !errors.Is(err, io.EOF) {
		t.Errorf("the call that was under way: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	_, name, _ := strings.Cut(local, "/")
	if conn, err := new(net.Dialer).DialContext(deadline(t), "unix", "@micro/"+name); err == nil {
		_ = conn.Close()
		t.Error("somebody answers at the socket after the stop")
	}
}
