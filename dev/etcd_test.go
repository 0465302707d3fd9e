package dev_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
)

func startEtcd(t testing.TB, opts ...dev.Option) *dev.Etcd {
	t.Helper()
	e, err := dev.StartEtcd(deadline(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func connect(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func put(t testing.TB, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(deadline(t), key, value); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func get(t testing.TB, c *clientv3.Client, key string) string {
	t.Helper()
	res, err := c.Get(deadline(t), key)
	if err != nil || len(res.Kvs) != 1 {
		t.Fatalf("get %s: %v, %v", key, res, err)
	}
	return string(res.Kvs[0].GetValue())
}

// Watches and keepalives do not end by themselves, and etcd waits 7 s for them.
func TestEtcdStartsAndStopsQuickly(t *testing.T) {
	t.Parallel()
	began := time.Now()
	e := startEtcd(t)
	up := time.Since(began)
	var watches []clientv3.WatchChan
	for range 5 {
		c := connect(t, e.Endpoints()...)
		watch := c.Watch(t.Context(), "a", clientv3.WithCreatedNotify())
		<-watch
		watches = append(watches, watch)
		lease, err := c.Grant(deadline(t), 10)
		if err != nil {
			t.Fatal(err)
		}
		alive, err := c.KeepAlive(t.Context(), lease.ID)
		if err != nil {
			t.Fatal(err)
		}
		<-alive
	}
	began = time.Now()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	down := time.Since(began)
	t.Logf("up in %v, down in %v with %d watches and keepalives", up, down, len(watches))
	if up > 5*time.Second || down > 5*time.Second { // 0.3 s and 3 ms on a machine with nothing else to do
		t.Errorf("up in %v, down in %v", up, down)
	}
}

func TestEtcdKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "folder")
	e := startEtcd(t, dev.WithDataDir(dir))
	put(t, connect(t, e.Endpoints()...), "a", "1")
	if _, err := dev.StartEtcd(deadline(t), dev.WithDataDir(dir)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second etcd on the folder: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	again := startEtcd(t, dev.WithDataDir(dir), dev.WithAddress("localhost:0"))
	if got := get(t, connect(t, again.Endpoints()...), "a"); got != "1" {
		t.Errorf("after a restart: %q", got)
	}
}

func TestEtcdAddress(t *testing.T) {
	t.Parallel()
	addr := free(t)
	e := startEtcd(t, dev.WithAddress(addr))
	if got := e.URL(); got != "etcd://"+addr {
		t.Errorf("URL is %s, want etcd://%s", got, addr)
	}
	members, err := connect(t, addr).MemberList(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if urls := members.Members[0].GetClientURLs(); len(urls) != 1 || urls[0] != "http://"+addr {
		t.Errorf("it tells its clients to use %v, want http://%s", urls, addr)
	}
}

func TestEtcdRestarts(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	c := connect(t, e.Endpoints()...)
	put(t, c, "a", "1")
	if err := e.StartNode(deadline(t), 0); err == nil {
		t.Error("a node that runs starts again")
	}
	e.StopNode(0)
	e.StopNode(0) // does nothing more
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Put(ctx, "b", "1"); err == nil {
		t.Error("it answers while it is stopped")
	}
	if err := e.StartNode(deadline(t), 0); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, "a"); got != "1" {
		t.Errorf("after a restart: %q", got)
	}
}

func TestEtcdNodes(t *testing.T) {
	t.Parallel()
	e := startEtcd(t, dev.WithNodes(3))
	if n := len(e.Endpoints()); n != 3 {
		t.Fatalf("%d endpoints, want 3", n)
	}
	c := connect(t, e.Endpoints()...)
	put(t, c, "a", "1")
	e.StopNode(0)
	wait.Until(t, "the other two to take a write", func() bool { // which etcd gives up while they look for a leader
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := c.Put(ctx, "a", "2")
		return err == nil
	})
	if err := e.StartNode(deadline(t), 0); err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range e.Endpoints() {
		if got := get(t, connect(t, endpoint), "a"); got != "2" {
			t.Errorf("%s has lost a write", endpoint)
		}
	}
}

// etcd ends the process when it cannot read its folder: not ours.
func TestEtcdFolderIsBroken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := startEtcd(t, dev.WithDataDir(dir)).Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "etcd", "member", "wal", "*.wal"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no write-ahead log: %v", err)
	}
	for _, log := range logs {
		if err := os.WriteFile(log, []byte(strings.Repeat("no log", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dev.StartEtcd(deadline(t), dev.WithDataDir(dir)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("etcd with a broken log: %v", err)
	}
}
