package dev_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
)

// patience bounds every wait of these tests; only a failure takes so long.
const patience = time.Minute

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Nodes of etcd leave connections between them open, which end when they
		// were silent for 5 s.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).abortPendingRead"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		// An etcd that gave up while it read a broken folder has no end.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/storage/backend.(*backend).run"),
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/storage/wal.(*filePipeline).run"))
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// busy is an address that someone listens on.
func busy(t testing.TB) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	return lis.Addr().String()
}

// free is an address that nobody listens on. It stays free while the machine gives
// out ports: those that the kernel chooses are from another range.
func free(t testing.TB) string {
	t.Helper()
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 11_000+(os.Getpid()*97+int(ports.Add(1)))%20_000)
		lis, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		_ = lis.Close()
		return addr
	}
}

var ports atomic.Int64 // handed out by free

func TestBadOptions(t *testing.T) {
	t.Parallel()
	taken := busy(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	etcd := func(ctx context.Context, opts ...dev.Option) error {
		_, err := dev.StartEtcd(ctx, opts...)
		return err
	}
	kafka := func(ctx context.Context, opts ...dev.Option) error {
		_, err := dev.StartKafka(ctx, opts...)
		return err
	}
	ctx := deadline(t)
	for name, test := range map[string]struct {
		err  error
		want []string
	}{
		"etcd port in use":       {etcd(ctx, dev.WithAddress(taken)), []string{taken, "in use", "WithAddress"}},
		"etcd folder is a file":  {etcd(ctx, dev.WithDataDir(file)), []string{file, "WithDataDir"}},
		"etcd partitions":        {etcd(ctx, dev.WithPartitions(1)), []string{"WithPartitions"}},
		"etcd brokers":           {etcd(ctx, dev.WithBrokers(1)), []string{"WithBrokers"}},
		"etcd nodes":             {etcd(ctx, dev.WithNodes(-1)), []string{"WithNodes(-1)"}},
		"etcd nodes, address":    {etcd(ctx, dev.WithNodes(3), dev.WithAddress(taken)), []string{"3 nodes", taken}},
		"etcd nodes, folder":     {etcd(ctx, dev.WithNodes(3), dev.WithDataDir("d")), []string{"WithNodes(3)", "in d"}},
		"etcd address":           {etcd(ctx, dev.WithAddress("nowhere")), []string{"nowhere", "WithAddress"}},
		"etcd context":           {etcd(ended), []string{"cancel"}},
		"kafka port in use":      {kafka(ctx, dev.WithAddress(taken)), []string{taken, "in use", "WithAddress"}},
		"kafka folder is a file": {kafka(ctx, dev.WithDataDir(file)), []string{file, "WithDataDir"}},
		"kafka address":          {kafka(ctx, dev.WithAddress("nowhere")), []string{`"nowhere"`, "host:port"}},
		"kafka port":             {kafka(ctx, dev.WithAddress("localhost:kafka")), []string{"localhost:kafka", "no number"}},
		"kafka brokers":          {kafka(ctx, dev.WithBrokers(-1)), []string{"WithBrokers(-1)"}},
		"kafka brokers, address": {kafka(ctx, dev.WithBrokers(3), dev.WithAddress(taken)), []string{"3 brokers", taken}},
		"kafka partitions":       {kafka(ctx, dev.WithPartitions(-1)), []string{"WithPartitions(-1)"}},
		"kafka nodes":            {kafka(ctx, dev.WithNodes(1)), []string{"WithNodes"}},
		"kafka context":          {kafka(ended), []string{"cancel"}},
	} {
		if test.err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range append(test.want, "dev: start ") {
			if !strings.Contains(test.err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, test.err, want)
			}
		}
	}
}

// What a start without a folder leaves behind, also one that fails.
func TestNothingIsLeftBehind(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	e, k := startEtcd(t), startKafka(t)
	for range 2 { // the second Close does nothing
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(k.Addrs()) != 1 || len(e.Endpoints()) != 1 {
		t.Errorf("after Close the addresses are %v and %v", e.Endpoints(), k.Addrs())
	}
	ended, end := context.WithCancel(context.Background())
	end()
	if _, err := dev.StartEtcd(ended); err == nil {
		t.Error("etcd starts in a context that has ended")
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var log wait.Log
	logger := dev.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	e, k := startEtcd(t, logger), startKafka(t, logger)
	garble(t, k)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`level=INFO msg="closed etcd server" server=etcd name=node-0`, `level=DEBUG msg="client`, "server=kafka"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not logged", want)
		}
	}
}
