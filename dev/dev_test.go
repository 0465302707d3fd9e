package dev_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/grpc-micro/micro/dev"
)

// patience bounds every wait of these tests; only a failure takes so long.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// kafka-go's connections of a Client end with its idle timeout.
		goleak.IgnoreAnyFunction("github.com/segmentio/kafka-go.(*conn).run"),
		goleak.IgnoreAnyFunction("github.com/segmentio/kafka-go.(*connPool).discover"))
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func startEtcd(t testing.TB, opts ...dev.Option) *dev.Etcd {
	t.Helper()
	e, err := dev.StartEtcd(deadline(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func etcdClient(t testing.TB, e *dev.Etcd) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: e.Endpoints(), DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func startKafka(t testing.TB, opts ...dev.Option) *dev.Kafka {
	t.Helper()
	k, err := dev.StartKafka(deadline(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func TestEtcdStartsAndStopsQuickly(t *testing.T) {
	t.Parallel()
	began := time.Now()
	e := startEtcd(t)
	up := time.Since(began)
	c := etcdClient(t, e)
	if _, err := c.Put(deadline(t), "a", "1"); err != nil {
		t.Fatal(err)
	}
	watch := c.Watch(t.Context(), "a") // keeps a stream open
	lease, err := c.Grant(deadline(t), 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.KeepAlive(t.Context(), lease.ID); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	down := time.Since(began)
	t.Logf("up in %v, down in %v with a watch and a keepalive open", up, down)
	if up > 5*time.Second || down > 5*time.Second { // a second here; machines differ
		t.Errorf("up in %v, down in %v", up, down)
	}
	_ = watch
}

func TestEtcdKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	e := startEtcd(t, dev.WithDataDir(dir))
	if _, err := etcdClient(t, e).Put(deadline(t), "a", "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.StartEtcd(deadline(t), dev.WithDataDir(dir)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second etcd on the folder: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	res, err := etcdClient(t, startEtcd(t, dev.WithDataDir(dir))).Get(deadline(t), "a")
	if err != nil || len(res.Kvs) != 1 {
		t.Errorf("after a restart: %v, %v", res, err)
	}
}

func TestKafkaKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	began := time.Now()
	k := startKafka(t, dev.WithDataDir(dir))
	if up := time.Since(began); up > 5*time.Second {
		t.Errorf("up in %v", up)
	}
	w := &kafkago.Writer{Addr: kafkago.TCP(k.Addrs()...), Topic: "t", BatchTimeout: time.Millisecond, AllowAutoTopicCreation: true, RequiredAcks: kafkago.RequireAll}
	if err := w.WriteMessages(deadline(t), kafkago.Message{Value: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.StartKafka(deadline(t), dev.WithDataDir(dir)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second broker on the folder: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = startKafka(t, dev.WithDataDir(dir))
	client := &kafkago.Client{Addr: kafkago.TCP(k.Addrs()...)}
	var requests []kafkago.OffsetRequest
	for p := range 6 { // the default number of partitions
		requests = append(requests, kafkago.LastOffsetOf(p))
	}
	offsets, err := client.ListOffsets(deadline(t), &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{"t": requests}})
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, p := range offsets.Topics["t"] {
		if p.Error != nil {
			t.Fatal(p.Error)
		}
		total += p.LastOffset
	}
	if total != 1 {
		t.Errorf("%d messages after a restart, want 1", total)
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	etcd := func(opts ...dev.Option) error { _, err := dev.StartEtcd(deadline(t), opts...); return err }
	kafka := func(opts ...dev.Option) error { _, err := dev.StartKafka(deadline(t), opts...); return err }
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"etcd port in use":       {etcd(dev.WithAddress(busy.Addr().String())), busy.Addr().String()},
		"etcd folder is a file":  {etcd(dev.WithDataDir(file)), file},
		"etcd partitions":        {etcd(dev.WithPartitions(1)), "WithPartitions"},
		"kafka port in use":      {kafka(dev.WithAddress(busy.Addr().String())), busy.Addr().String()},
		"kafka folder is a file": {kafka(dev.WithDataDir(file)), file},
		"kafka address":          {kafka(dev.WithAddress("nowhere")), `"nowhere"`},
		"kafka brokers":          {kafka(dev.WithBrokers(3), dev.WithAddress("127.0.0.1:9092")), "3 brokers"},
		"kafka partitions":       {kafka(dev.WithPartitions(-1)), "WithPartitions(-1)"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: %v, want %q in it", name, test.err, test.want)
		}
	}
}
