package etcd_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/etcd"
)

// works makes sure that a registry registers and finds.
func works(t *testing.T, url string) {
	t.Helper()
	reg := openURL(t, url)
	if _, err := reg.Register(deadline(t), instance("a")); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	for insts, err := range reg.Watch(deadline(t), "svc") {
		if err != nil || len(insts) != 1 {
			t.Errorf("%s: Watch yields %v, %v", url, insts, err)
		}
		break
	}
}

// refused makes sure that a registry says why it does not work, in time.
func refused(t *testing.T, url string, why ...string) {
	t.Helper()
	reg := openURL(t, url)
	began := time.Now()
	_, err := reg.Register(t.Context(), instance("a"))
	mention(t, url, err, why...)
	if took := time.Since(began); took > patience/2 {
		t.Errorf("%s: it took %v", url, took)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t), newAuthority(t)
	c := &cluster{t: t}
	c.reserve(1)
	n := &c.nodes[0].config
	n.Cert, n.Key = ours.issue("127.0.0.1")
	c.dial = func(endpoints []string) *clientv3.Client { return connectTLS(t, endpoints, ours.file, "", "") }
	c.start(0)
	server := "etcd://" + n.Client
	works(t, server+"?tls=true&ca="+ours.file)
	works(t, server+"?tls=true&server-name=127.0.0.1&ca="+ours.file)
	refused(t, server+"?timeout=1s", n.Client)
	refused(t, server+"?timeout=4s&tls=true&ca="+other.file, n.Client, "certificate")
	refused(t, server+"?timeout=4s&tls=true&server-name=etcd.example&ca="+ours.file, n.Client, "etcd.example")
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t), newAuthority(t)
	cert, key := ours.issue("client.example")
	otherCert, otherKey := other.issue("client.example")
	c := &cluster{t: t}
	c.reserve(1)
	n := &c.nodes[0].config
	n.Cert, n.Key = ours.issue("127.0.0.1")
	n.ClientCA = ours.file
	c.dial = func(endpoints []string) *clientv3.Client { return connectTLS(t, endpoints, ours.file, cert, key) }
	c.start(0)
	server := "etcd://" + n.Client + "?timeout=1s&tls=true&ca=" + ours.file
	works(t, server+"&cert="+cert+"&key="+key)
	refused(t, server, n.Client)
	refused(t, server+"&cert="+otherCert+"&key="+otherKey, n.Client)
}

func connectTLS(t testing.TB, endpoints []string, ca, cert, key string) *clientv3.Client {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	cfg.RootCAs.AppendCertsFromPEM(pem)
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: cfg, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// startWithUser starts an etcd where the user shop with the password s:e/c@ret
// may use what is under shop/, and nobody anything else but root, with the
// password root. Whoever logs in is forgotten after a second without a call.
func startWithUser(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dial: func(endpoints []string) *clientv3.Client { return connect(t, endpoints) }}
	c.reserve(1)
	c.nodes[0].config.TokenTTL = 1
	c.start(0)
	client, ctx := connect(t, c.endpoints()), deadline(t)
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(client.UserAdd(ctx, "root", "root"))
	check(client.UserGrantRole(ctx, "root", "root"))
	check(client.UserAdd(ctx, "shop", "s:e/c@ret"))
	check(client.RoleAdd(ctx, "shop"))
	check(client.RoleGrantPermission(ctx, "shop", "shop/", clientv3.GetPrefixRangeEnd("shop/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	check(client.UserGrantRole(ctx, "shop", "shop"))
	check(client.AuthEnable(ctx))
	c.dial = func(endpoints []string) *clientv3.Client { return logIn(t, endpoints, "root", "root") }
	return c
}

func logIn(t testing.TB, endpoints []string, user, password string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, Username: user, Password: password, DialTimeout: patience, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestUserAndPassword(t *testing.T) {
	t.Parallel()
	c := startWithUser(t)
	server := c.endpoints()[0]
	user := url.UserPassword("shop", "s:e/c@ret").String()
	works(t, "etcd://"+user+"@"+server+"/shop/services")
	refused(t, "etcd://"+user+"@"+server+"/other", "permission denied")
	refused(t, "etcd://"+server+"/shop/services?timeout=20s", "user")
	_, err := resolver.Open("etcd://shop:wrong-password@" + server + "?timeout=20s")
	mention(t, "Open with a wrong password", err, server, "shop", "authentication failed")
	if strings.Contains(err.Error(), "wrong-password") {
		t.Errorf("the error has the password: %v", err)
	}
}

// etcd forgets who logged in when it hears nothing for a while, and at each
// restart: neither must end a registration, a watch, or what comes after.
func TestTokensThatExpire(t *testing.T) {
	t.Parallel()
	c := startWithUser(t)
	proxy := newProxy(t, c.endpoints()[0])
	r := openOn(t, logIn(t, []string{proxy.addr()}, "shop", "s:e/c@ret"), "shop/services", etcd.WithTTL(9*time.Second))
	r.announce(instance("a"))
	w := r.watchAnew()
	w.wait("a")
	_, lease := r.get("svc/a")
	reg := r.register(instance("b"))
	w.wait("a, b")

	expire := func() { <-time.After(2200 * time.Millisecond) } // etcd looks once a second
	expire()
	if err := reg.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	w.wait("a")
	again := r.watchAnew() // would be on the stream of the first one, whose token has gone
	again.wait("a")
	r.register(instance("c"))
	again.wait("a, c")
	w.wait("a, c")

	expire()
	proxy.cut() // the streams begin anew, with a token that etcd does not know
	proxy.heal()
	r.register(instance("d"))
	w.wait("a, c, d")
	c.kill(0) // after which etcd knows no token at all
	c.start(0)
	r.register(instance("e"))
	w.wait("a, c, d, e")
	if _, now := r.get("svc/a"); now != lease {
		t.Error("the registration was lost on the way")
	}
}
