package etcd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	naming "go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/etcd"
	"github.com/grpc-micro/micro/resolver/resolvertest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	resolvertest.Run(t, func(t *testing.T) resolver.Registry { return open(t) })
}

// What is in etcd, to the letter: other programs read it.
func TestValue(t *testing.T) {
	t.Parallel()
	r := open(t)
	inst := &resolver.Instance{
		ID: "a", Service: "svc", Version: "v2", Zone: "z", Weight: 3, Draining: true,
		Addrs: []string{"10.0.0.1:80", "[::1]:80"}, Labels: map[string]string{"lane": "x"},
	}
	if _, err := r.Register(deadline(t), inst); err != nil {
		t.Fatal(err)
	}
	res, err := r.client.Get(deadline(t), r.prefix+"/svc/a")
	if err != nil || len(res.Kvs) != 1 {
		t.Fatalf("%v, %v", res, err)
	}
	const want = `{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"version":"v2","zone":"z","addrs":["[::1]:80"],"weight":3,"labels":{"lane":"x"},"draining":true}}`
	if got := string(res.Kvs[0].Value); got != want {
		t.Errorf("value is %s\nwant     %s", got, want)
	}
	lease, err := r.client.TimeToLive(deadline(t), clientv3.LeaseID(res.Kvs[0].Lease))
	if err != nil || lease.GrantedTTL != 15 {
		t.Errorf("lease: %v, %v, want one of 15 s", lease, err)
	}
}

func TestDrainingKeepsTheLease(t *testing.T) {
	t.Parallel()
	r := open(t)
	reg, err := r.Register(deadline(t), instance("a"))
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t, r, "svc")
	w.wait(t, "a")
	before, _ := r.client.Get(deadline(t), r.prefix+"/svc/a")
	drained := instance("a")
	drained.Draining = true
	if err := reg.Update(deadline(t), drained); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "a draining")
	after, err := r.client.Get(deadline(t), r.prefix+"/svc/a")
	if err != nil || after.Kvs[0].Lease != before.Kvs[0].Lease {
		t.Errorf("the lease changed from %x to %x: %v", before.Kvs[0].Lease, after.Kvs[0].Lease, err)
	}
}

// A key that somebody deletes by hand comes back.
func TestDeletedKeyComesBack(t *testing.T) {
	t.Parallel()
	r := open(t)
	announce(t, r, instance("a"))
	w := watch(t, r, "svc")
	w.wait(t, "a")
	if _, err := r.client.Delete(deadline(t), r.prefix+"/svc/a"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to go and to come back", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.n >= 3 && len(w.last) == 1
	})
}

// announce runs an Announcer until the test ends.
func announce(t testing.TB, r resolver.Registrar, insts ...*resolver.Instance) {
	t.Helper()
	a := resolver.NewAnnouncer(r, insts...)
	a.SetLogger(quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func TestValuesOfOthers(t *testing.T) {
	t.Parallel()
	r := open(t)
	for key, value := range map[string]string{
		"a":       `{"Op":0,"Addr":"10.0.0.1:80","Metadata":"text of another program"}`,
		"b":       `not JSON`,
		"c":       `{"Op":1,"Addr":"10.0.0.1:80"}`,
		"d":       `{"Op":0}`,
		"e":       `{"Op":0,"Addr":"10.0.0.1"}`,
		"f":       `{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"weight":-1}}`,
		"g/under": `{"Op":0,"Addr":"10.0.0.1:80"}`,
		"h":       `{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}`,
		"i":       `{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"later":"version"}}`,
	} {
		if _, err := r.client.Put(deadline(t), r.prefix+"/svc/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, r, "svc")
	w.wait(t, "a, h, i")
	if n := r.Unreadable(); n != 6 {
		t.Errorf("%d unreadable values, want 6", n)
	}
	if _, err := r.client.Put(deadline(t), r.prefix+"/svc/a", "now this is bad, too"); err != nil {
		t.Fatal(err)
	}
	w.wait(t, "h, i")
}

// Where the events that a watch still has to see are gone, it ends with an
// error, and the next one lists anew.
func TestCompaction(t *testing.T) {
	t.Parallel()
	r := open(t)
	if _, err := r.Register(deadline(t), instance("a")); err != nil {
		t.Fatal(err)
	}
	proxy := newProxy(t, servers[0])
	cut, err := etcd.New(client(t, proxy.addr()), etcd.WithPrefix(r.prefix), etcd.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	w := watch(t, cut, "svc")
	w.wait(t, "a")
	proxy.cut()
	if _, err := r.Register(deadline(t), instance("b")); err != nil {
		t.Fatal(err)
	}
	res, err := r.client.Put(deadline(t), r.prefix+"/other", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Compact(deadline(t), res.Header.Revision); err != nil {
		t.Fatal(err)
	}
	proxy.heal()
	eventually(t, "the error", func() bool { return strings.Contains(w.ids(), "compacted") })
	watch(t, cut, "svc").wait(t, "a, b")
}

// etcd's own tools see what is registered, and a grpc client with etcd's own
// resolver reaches it.
func TestEtcdsNamingClientFindsIt(t *testing.T) {
	t.Parallel()
	r := open(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	go func() { _ = s.Serve(lis) }()
	defer s.Stop()
	if _, err := r.Register(deadline(t), &resolver.Instance{ID: "a", Service: "svc", Version: "v1", Addrs: []string{lis.Addr().String()}}); err != nil {
		t.Fatal(err)
	}

	manager, err := endpoints.NewManager(r.client, r.prefix+"/svc")
	if err != nil {
		t.Fatal(err)
	}
	list, err := manager.List(deadline(t))
	if err != nil || list[r.prefix+"/svc/a"].Addr != lis.Addr().String() {
		t.Errorf("the endpoints manager lists %v, %v", list, err)
	}
	builder, err := naming.NewBuilder(r.client)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("etcd:///"+r.prefix+"/svc", grpc.WithResolvers(builder), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(deadline(t), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("a call through etcd's resolver: %v", err)
	}

	// And the other way round: what the manager writes is an instance.
	if err := manager.AddEndpoint(deadline(t), r.prefix+"/svc/b", endpoints.Endpoint{Addr: "10.0.0.9:80", Metadata: "x"}); err != nil {
		t.Fatal(err)
	}
	watch(t, r, "svc").wait(t, "a, b")
}

func TestEtcdIsNotThere(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := lis.Addr().String()
	_ = lis.Close()
	r, err := resolver.Open("etcd://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	check := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "is it running") {
			t.Errorf("%s: %v, want the address and the remedy", what, err)
		}
	}
	_, err = r.Register(ctx, instance("a"))
	check("Register", err)
	_, err = r.Services(ctx)
	check("Services", err)
	for _, err := range r.Watch(t.Context(), "svc") { // has no deadline, and ends all the same
		check("Watch", err)
	}
}

func TestEtcdIsNotThereToLogIn(t *testing.T) {
	t.Parallel()
	const addr = "127.0.0.1:1"
	if _, err := resolver.Open("etcd://user:secret@" + addr); err == nil || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "secret") {
		t.Errorf("Open with a user: %v, want the address and not the password", err)
	}
}

func TestOpenURL(t *testing.T) {
	t.Parallel()
	r, err := resolver.Open("etcd://" + strings.Join(servers, ",") + "/" + prefix() + "?ttl=20s")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Register(deadline(t), instance("a")); err != nil {
		t.Fatal(err)
	}
	many, err := resolver.Open("etcd://h1,h2:1234")
	if err != nil {
		t.Fatal(err)
	}
	defer many.Close()
	if got := fmt.Sprint(many.(*etcd.Registry).Endpoints()); got != "[h1:2379 h2:1234]" {
		t.Errorf("endpoints %s", got)
	}
	for url, want := range map[string]string{
		"etcd://":                          "host:port",
		"etcd://h1?colour=red":             `"colour"`,
		"etcd://h1?ttl=soon":               "ttl",
		"etcd://h1?ttl=1ms":                "1ms",
		"etcd://h1?tls=maybe":              "tls=true",
		"etcd://h1?ca=/nowhere":            "tls=true",
		"etcd://h1?tls=true&ca=/nowhere":   "/nowhere",
		"etcd://h1?tls=true&cert=/nowhere": "key",
		"etcd://h1/a//b":                   `"a//b"`,
	} {
		if _, err := resolver.Open(url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", url, err, want)
		}
	}
}

// etcd restarts on its data while a service announces itself and a client
// watches: the client keeps what it knew, and the service is there after.
func TestRestartOfEtcd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := dev.StartEtcd(deadline(t), dev.WithDataDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	addr := first.Endpoints()[0]
	c := client(t, addr)
	r, err := etcd.New(c, etcd.WithLogger(quiet), etcd.WithTTL(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	announce(t, r, instance("a"))
	watch(t, r, "svc").wait(t, "a")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := dev.StartEtcd(deadline(t), dev.WithDataDir(dir), dev.WithAddress(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	announce(t, r, instance("b"))
	eventually(t, "both to be there", func() bool {
		res, err := c.Get(deadline(t), "micro/services/svc/", clientv3.WithPrefix())
		return err == nil && len(res.Kvs) == 2
	})
}

func FuzzValue(f *testing.F) {
	f.Add([]byte(`{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"version":"v1","labels":{"a":"b"}}}`))
	f.Add([]byte(`{"Op":0,"Addr":"10.0.0.1:80","Metadata":[]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		inst, err := etcd.Decode("svc", "id", data)
		if err != nil {
			return
		}
		if err := inst.Validate(); err != nil {
			t.Fatalf("%s was read as an instance that nobody could register: %v", data, err)
		}
		again, err := etcd.Encode(inst)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid([]byte(again)) {
			t.Fatalf("written as %s", again)
		}
		if back, err := etcd.Decode("svc", "id", []byte(again)); err != nil || !back.Equal(inst) {
			t.Fatalf("%v became %v, %v", inst, back, err)
		}
	})
}

// BenchmarkChangeAmongMany is what one change costs a watch of so many.
func BenchmarkChangeAmongMany(b *testing.B) {
	for _, n := range []int{3, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := open(b)
			insts := make([]*resolver.Instance, n)
			for i := range insts {
				insts[i] = instance(fmt.Sprintf("%05d", i))
			}
			reg, err := r.Register(b.Context(), insts[:n-1]...)
			if err != nil {
				b.Fatal(err)
			}
			defer reg.Deregister(b.Context())
			one, err := r.Register(b.Context(), insts[n-1])
			if err != nil {
				b.Fatal(err)
			}
			changes := make(chan uint32)
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for snapshot, err := range r.Watch(ctx, "svc") {
					if err != nil || ctx.Err() != nil {
						return
					}
					select {
					case changes <- snapshot[n-1].Weight:
					case <-ctx.Done():
					}
				}
			}()
			<-changes
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				next := insts[n-1].Clone()
				next.Weight = uint32(i + 1)
				if err := one.Update(b.Context(), next); err != nil {
					b.Fatal(err)
				}
				<-changes
			}
			cancel()
			<-done
		})
	}
}
