package etcd_test

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"go.etcd.io/etcd/client/v3/naming/endpoints"
	naming "go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/etcd"
)

// What is in etcd, to the letter: other programs read it.
func TestValue(t *testing.T) {
	t.Parallel()
	r := open(t)
	r.register(&resolver.Instance{
		ID: "a", Service: "svc", Version: "v2", Zone: "z", Weight: 3, Draining: true,
		Addrs: []string{"10.0.0.1:80", "[::1]:80"}, Labels: map[string]string{"lane": "x"}, Local: "host/name",
	}, instance("b"))
	const want = `{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"version":"v2","zone":"z","addrs":["[::1]:80"],"weight":3,"labels":{"lane":"x"},"draining":true,"local":"host/name"}}`
	got, lease := r.get("svc/a")
	if got != want {
		t.Errorf("value is %s\nwant     %s", got, want)
	}
	if got, _ := r.get("svc/b"); got != `{"Op":0,"Addr":"127.0.0.1:80","Metadata":{}}` {
		t.Errorf("the least value is %s", got)
	}
	if ttl, err := r.client.TimeToLive(deadline(t), lease); err != nil || ttl.GrantedTTL != 15 {
		t.Errorf("lease: %v, %v, want one of 15 s", ttl, err)
	}
}

func TestValuesOfOthers(t *testing.T) {
	t.Parallel()
	var log wait.Log
	r := open(t, etcd.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	for key, value := range map[string]string{
		"a":            `{"Op":0,"Addr":"10.0.0.1:80","Metadata":"text of another program"}`,
		"b":            `not JSON`,
		"c":            `{"Op":1,"Addr":"10.0.0.1:80"}`,
		"d":            `{"Op":0}`,
		"e":            `{"Op":0,"Addr":"10.0.0.1"}`,
		"f":            `{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"weight":-1}}`,
		"g/under":      `{"Op":0,"Addr":"10.0.0.1:80"}`,
		"h":            `{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}`,
		"i":            `{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"later":"version"}}`,
		"":             `{"Op":0,"Addr":"10.0.0.1:80"}`,
		"10.0.0.1:80":  `{"Op":0,"Addr":"10.0.0.1:80"}`,
		"key of Mário": `{"Addr":"10.0.0.1:80"}`,
	} {
		r.put("svc/"+key, value)
	}
	const readable = "10.0.0.1:80, a, h, i, key of Mário"
	r.watch().wait(readable)
	w := r.watch() // reads them again, and has nothing new to say
	w.wait(readable)
	if n := r.Unreadable(); n != 7 {
		t.Errorf("%d unreadable values, want 7", n)
	}
	r.put("svc/a", "now this is bad, too")
	w.wait(strings.Replace(readable, "a, ", "", 1))
	r.put("svc/a", `{"Addr":"10.0.0.2:80"}`)
	w.wait(readable)
	if err := r.Close(); err != nil { // the watches are told, and the log is ours
		t.Fatal(err)
	}
	w.fails("closed")
	if n := r.Unreadable(); n != 8 || strings.Count(log.String(), "\n") != 8 || !strings.Contains(log.String(), r.prefix+"/svc/g/under") {
		t.Errorf("%d unreadable values, want 8, and as many lines in\n%s", n, &log)
	}
}

// etcd's own tools see what is registered, a grpc client with etcd's own
// resolver reaches it, and what those tools write is an instance here.
func TestEtcdsNamingClient(t *testing.T) {
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
	reg := r.register(&resolver.Instance{ID: "a", Service: "svc", Version: "v1", Addrs: []string{lis.Addr().String()}})

	manager, err := endpoints.NewManager(r.client, r.prefix+"/svc")
	if err != nil {
		t.Fatal(err)
	}
	list, err := manager.List(deadline(t))
	if err != nil || len(list) != 1 || list[r.prefix+"/svc/a"].Addr != lis.Addr().String() {
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

	for id, metadata := range map[string]any{"b": "text", "10.0.0.9:80": nil} { // its doc ends keys in the address
		if err := manager.AddEndpoint(deadline(t), r.prefix+"/svc/"+id, endpoints.Endpoint{Addr: "10.0.0.9:80", Metadata: metadata}); err != nil {
			t.Fatal(err)
		}
	}
	w := r.watch()
	w.wait("10.0.0.9:80, a, b")
	if err := manager.DeleteEndpoint(deadline(t), r.prefix+"/svc/b"); err != nil {
		t.Fatal(err)
	}
	w.wait("10.0.0.9:80, a")
	if err := reg.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if list, err := manager.List(deadline(t)); err != nil || len(list) != 1 {
		t.Errorf("after the withdrawal the endpoints manager lists %v, %v", list, err)
	}
}

func FuzzValue(f *testing.F) {
	f.Add("id", []byte(`{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"version":"v1","labels":{"a":"b"}}}`))
	f.Add("10.0.0.1:80", []byte(`{"Op":0,"Addr":"10.0.0.1:80","Metadata":[]}`))
	f.Add("", []byte(`null`))
	f.Fuzz(func(t *testing.T, id string, data []byte) {
		inst, err := etcd.Decode("svc", id, data)
		if err != nil {
			if inst != nil {
				t.Fatalf("%q is %v and an error: %v", data, inst, err)
			}
			return
		}
		if named := inst.Clone(); id != inst.ID {
			t.Fatalf("ID %q became %q", id, inst.ID)
		} else if named.ID = "id"; named.Validate() != nil {
			t.Fatalf("%q was read as an instance that nobody could register: %v", data, named.Validate())
		}
		again, err := etcd.Encode(inst)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := etcd.Decode("svc", id, []byte(again)); err != nil || !back.Equal(inst) {
			t.Fatalf("%v became %v, %v", inst, back, err)
		}
	})
}
