package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	// kfake needs this package from a newer franz-go than it requires itself;
	// without an import of ours `go mod tidy` would drop that requirement.
	_ "github.com/twmb/franz-go/pkg/kversion"
)

// Kafka is a running cluster that speaks Kafka's protocol.
type Kafka struct {
	cluster *kfake.Cluster
	lock    *folder // nil: the data are in memory
	close   func() error
}

// StartKafka starts the brokers, which are up when it returns. Topics are made
// by being used. The caller closes it, after its clients.
func StartKafka(ctx context.Context, opts ...Option) (*Kafka, error) {
	o := newOptions(opts)
	if err := o.checkKafka(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("dev: start kafka: %w", err)
	}
	port, err := portOf(o.address)
	if err != nil {
		return nil, err
	}
	k := &Kafka{}
	settings := []kfake.Opt{
		kfake.NumBrokers(o.brokers),
		kfake.DefaultNumPartitions(o.partitions),
		kfake.AllowAutoTopicCreation(),
		kfake.GroupMinSessionTimeout(time.Second), // tests kill members, and do not want to wait 6 s
	}
	if o.dataDir != "" {
		if k.lock, err = openFolder("kafka", o.dataDir); err != nil {
			return nil, err
		}
		settings = append(settings, kfake.DataDir(k.lock.data))
	}
	if o.address != "" {
		settings = append(settings, kfake.Ports(port), kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, network, o.address)
		}))
	}
	if k.cluster, err = kfake.NewCluster(settings...); err != nil {
		return nil, errors.Join(fmt.Errorf("dev: start kafka on %q with data in %q: %w", o.address, o.dataDir, err), k.lock.close())
	}
	k.close = sync.OnceValue(k.stop)
	return k, nil
}

func portOf(addr string) (int, error) {
	if addr == "" {
		return 0, nil
	}
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("dev: start kafka: WithAddress(%q): write host:port: %w", addr, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("dev: start kafka: WithAddress(%q): the port is no number: %w", addr, err)
	}
	return int(port), nil
}

// Addrs returns where clients reach it, as host:port of each broker.
func (k *Kafka) Addrs() []string { return k.cluster.ListenAddrs() }

// URL returns it as package pubsub opens it.
func (k *Kafka) URL() string { return "kafka://" + strings.Join(k.Addrs(), ",") }

// Cluster returns the kfake cluster: tests move partitions, inject faults and
// look at groups with it.
func (k *Kafka) Cluster() *kfake.Cluster { return k.cluster }

// Close stops the brokers. Their data are gone if they were in no folder.
func (k *Kafka) Close() error { return k.close() }

func (k *Kafka) stop() error {
	k.cluster.Close()
	return k.lock.close()
}
