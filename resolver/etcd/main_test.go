package etcd_test

import (
	"context"
	"errors"
	"flag"
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
	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/etcd"
)

// patience bounds every wait of these tests; only a failure takes so long.
const patience = time.Minute

var quiet = slog.New(slog.DiscardHandler)

// servers are where the tests find etcd.
var servers []string

// TestMain runs the tests on the etcd that ETCD_ENDPOINTS names, or on one that
// it starts.
func TestMain(m *testing.M) {
	if config := os.Getenv(nodeEnv); config != "" {
		os.Exit(serveNode(config))
	}
	// Nearly all of these tests do nothing but wait, so there may be more of them
	// at a time than there are processors. The race detector makes them work.
	if !raceDetector {
		_ = flag.Set("test.parallel", "12")
	}
	os.Exit(run(m))
}

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
		if err = errors.Join(err, goleak.Find(leftovers...)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// leftovers are connections between nodes of etcd, which end when they were
// silent for 5 s.
var leftovers = []goleak.Option{
	goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
	goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	goleak.IgnoreAnyFunction("net/http.(*connReader).abortPendingRead"),
	goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
}

// connect returns a client of the endpoints, or of the tests' own etcd.
func connect(t testing.TB, endpoints []string, opts ...grpc.DialOption) *clientv3.Client {
	t.Helper()
	if endpoints == nil {
		endpoints = servers
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: patience, DialOptions: opts, Logger: zap.NewNop(),
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second, // as Open has them
	})
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

// registry is one of a test, with what it is made of.
type registry struct {
	*etcd.Registry

	t      testing.TB
	client *clientv3.Client
	prefix string
}

func open(t testing.TB, opts ...etcd.Option) *registry {
	t.Helper()
	return openOn(t, connect(t, nil), prefix(), opts...)
}

func openOn(t testing.TB, client *clientv3.Client, prefix string, opts ...etcd.Option) *registry {
	t.Helper()
	r, err := etcd.New(client, append([]etcd.Option{etcd.WithPrefix(prefix), etcd.WithLogger(quiet)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return &registry{r, t, client, prefix}
}

// Expire ends the lease of an instance; the conformance suite asks for it.
func (r *registry) Expire(service, id string) bool {
	res, err := r.client.Get(context.Background(), r.prefix+"/"+service+"/"+id)
	if err != nil || len(res.Kvs) == 0 {
		return false
	}
	_, err = r.client.Revoke(context.Background(), clientv3.LeaseID(res.Kvs[0].GetLease()))
	return err == nil
}

func (r *registry) register(insts ...*resolver.Instance) resolver.Registration {
	r.t.Helper()
	reg, err := r.Register(deadline(r.t), insts...)
	if err != nil {
		r.t.Fatal(err)
	}
	return reg
}

func (r *registry) put(key, value string) {
	r.t.Helper()
	if _, err := r.client.Put(deadline(r.t), r.prefix+"/"+key, value); err != nil {
		r.t.Fatal(err)
	}
}

func (r *registry) delete(key string) {
	r.t.Helper()
	if _, err := r.client.Delete(deadline(r.t), r.prefix+"/"+key); err != nil {
		r.t.Fatal(err)
	}
}

// get returns the value of a key and the lease that it hangs on.
func (r *registry) get(key string) (value string, lease clientv3.LeaseID) {
	r.t.Helper()
	res, err := r.client.Get(deadline(r.t), r.prefix+"/"+key)
	if err != nil || len(res.Kvs) != 1 {
		r.t.Fatalf("get %s: %v, %v", key, res, err)
	}
	return string(res.Kvs[0].GetValue()), clientv3.LeaseID(res.Kvs[0].GetLease())
}

// announce runs an Announcer until the test ends.
func (r *registry) announce(insts ...*resolver.Instance) {
	r.t.Helper()
	a := resolver.NewAnnouncer(r, insts...)
	a.SetLogger(quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-done })
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func isLost(reg resolver.Registration) bool {
	select {
	case <-reg.Lost():
		return true
	default:
		return false
	}
}

// mention fails the test unless err has each of the texts.
func mention(t testing.TB, what string, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q in it", what, err, text)
		}
	}
}

func instance(id string) *resolver.Instance {
	return &resolver.Instance{ID: id, Service: "svc", Addrs: []string{"127.0.0.1:80"}}
}

// watched is what a watch has seen last.
type watched struct {
	t testing.TB

	mu     sync.Mutex // guards what follows
	last   []*resolver.Instance
	err    error
	yields int
}

// watch follows svc until the watch or the test ends.
func (r *registry) watch() *watched { return r.follow(false) }

// watchAnew follows svc until the test ends, and watches anew when the watch
// ends, as a client does.
func (r *registry) watchAnew() *watched { return r.follow(true) }

func (r *registry) follow(anew bool) *watched {
	r.t.Helper()
	w := &watched{t: r.t}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for first := true; first || anew && ctx.Err() == nil; first = false {
			for insts, err := range r.Watch(ctx, "svc") {
				w.mu.Lock()
				w.yields++
				if w.err = err; err == nil {
					w.last = insts
				}
				w.mu.Unlock()
			}
		}
	}()
	r.t.Cleanup(func() { cancel(); <-done })
	return w
}

// String is the IDs of the instances and the error that ended the watch.
func (w *watched) String() string {
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

func (w *watched) wait(want string) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the watch has %q", w)
		}
	}()
	wait.Until(w.t, fmt.Sprintf("%q", want), func() bool { return w.String() == want })
}

func (w *watched) fails(with string) {
	w.t.Helper()
	wait.Until(w.t, fmt.Sprintf("the watch to end with %q", with), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err != nil && strings.Contains(w.err.Error(), with)
	})
}
