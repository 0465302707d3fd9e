package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/etcd"
)

// patience bounds every wait of these tests; only a failure takes so long.
const patience = 20 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// TestMain runs the tests on the etcd that ETCD_ENDPOINTS names, or on one that
// it starts.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	stop := func() error { return nil }
	if env := os.Getenv("ETCD_ENDPOINTS"); env != "" {
		servers = strings.Split(env, ",")
	} else {
		e, err := dev.StartEtcd(context.Background())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		servers, stop = e.Endpoints(), e.Close
	}
	code := m.Run()
	err := stop()
	if code == 0 {
		if err = errors.Join(err, goleak.Find()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

var servers []string

func client(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	if endpoints == nil {
		endpoints = servers
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var prefixes atomic.Int64

// prefix returns a part of the keyspace that no other test uses, nor an earlier
// run on the same server.
func prefix() string {
	return fmt.Sprintf("micro-test/%d/%d", time.Now().UnixNano(), prefixes.Add(1))
}

// expiring is a registry whose leases a test can end.
type expiring struct {
	*etcd.Registry

	client *clientv3.Client
	prefix string
}

func (e *expiring) Expire(service, id string) bool {
	res, err := e.client.Get(context.Background(), e.prefix+"/"+service+"/"+id)
	if err != nil || len(res.Kvs) == 0 {
		return false
	}
	_, err = e.client.Revoke(context.Background(), clientv3.LeaseID(res.Kvs[0].Lease))
	return err == nil
}

func open(t testing.TB, opts ...etcd.Option) *expiring {
	t.Helper()
	e := &expiring{client: client(t), prefix: prefix()}
	var err error
	if e.Registry, err = etcd.New(e.client, append([]etcd.Option{etcd.WithPrefix(e.prefix), etcd.WithLogger(quiet)}, opts...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func instance(id string) *resolver.Instance {
	return &resolver.Instance{ID: id, Service: "svc", Addrs: []string{"127.0.0.1:80"}}
}

// watched is what a watch has seen last.
type watched struct {
	mu   sync.Mutex
	last []*resolver.Instance
	err  error
	n    int
}

// watch follows a service until the test ends.
func watch(t testing.TB, d resolver.Discovery, service string) *watched {
	t.Helper()
	w := &watched{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for insts, err := range d.Watch(ctx, service) {
			w.mu.Lock()
			w.n++
			if w.err = err; err == nil {
				w.last = insts
			}
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *watched) ids() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	for _, inst := range w.last {
		id := inst.ID
		if inst.Draining {
			id += " draining"
		}
		ids = append(ids, id)
	}
	if w.err != nil {
		ids = append(ids, w.err.Error())
	}
	return strings.Join(ids, ", ")
}

func (w *watched) wait(t testing.TB, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q", want), func() bool { return w.ids() == want })
}
