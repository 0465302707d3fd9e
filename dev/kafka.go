package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	// kfake requires franz-go v1.21.7 and does not compile with it: it needs this
	// package of v1.22.2. Our import makes that a requirement of this module, which
	// `go mod tidy` keeps.
	_ "github.com/twmb/franz-go/pkg/kversion"
)

// Kafka is a running cluster that speaks Kafka's protocol. Its methods are safe
// for concurrent use.
type Kafka struct {
	cluster *kfake.Cluster
	addrs   []string // kept, because a cluster that was closed never answers
	folder  *folder  // nil: the data are in memory
	close   func() error
}

// StartKafka starts the brokers, which are up when it returns; it does not
// block. A client may have topics made by using them (auto_create in its URL),
// and groups rebalance without delay. The
// caller closes it, best after its clients.
func StartKafka(ctx context.Context, opts ...Option) (*Kafka, error) {
	o := newOptions(opts)
	if err := o.checkKafka(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("dev: start kafka: %w", err)
	}
	settings := []kfake.Opt{
		kfake.NumBrokers(o.brokers),
		kfake.DefaultNumPartitions(o.partitions),
		kfake.AllowAutoTopicCreation(),
		kfake.GroupMinSessionTimeout(time.Second), // tests kill members, and do not want to wait 6 s
		kfake.WithLogger(kafkaLogger{o.logger.With("server", "kafka")}),
	}
	if o.address != "" {
		listen, err := listenOn(ctx, o.address)
		if err != nil {
			return nil, err
		}
		settings = append(settings, listen...)
	}
	k := &Kafka{}
	var err error
	if o.dataDir != "" {
		if k.folder, err = openFolder(ctx, "kafka", o.dataDir); err != nil {
			return nil, err
		}
		settings = append(settings, kfake.DataDir(k.folder.data))
	}
	k.close = sync.OnceValue(k.stop)
	if k.cluster, err = kfake.NewCluster(settings...); err != nil {
		return nil, errors.Join(explain(err, o), k.close())
	}
	k.addrs = k.cluster.ListenAddrs()
	return k, nil
}

// explain says what to do about an error of kfake's.
func explain(err error, o options) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return fmt.Errorf("dev: start kafka: %w: stop what listens there, or choose another address with WithAddress", err)
	}
	return fmt.Errorf("dev: start kafka with data in %q: %w: choose another folder with WithDataDir", o.dataDir, err)
}

// listenOn makes the first broker listen on addr, and those that a test adds on
// ports of their own: kfake by itself takes a port, and no host.
func listenOn(ctx context.Context, addr string) ([]kfake.Opt, error) {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dev: start kafka: WithAddress(%q): write host:port: %w", addr, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("dev: start kafka: WithAddress(%q): the port is no number: %w", addr, err)
	}
	ctx = context.WithoutCancel(ctx) // the listeners outlive the start
	first := true
	listen := func(network, other string) (net.Listener, error) {
		if first {
			first, other = false, addr
		}
		return new(net.ListenConfig).Listen(ctx, network, other)
	}
	return []kfake.Opt{kfake.Ports(int(port)), kfake.ListenFn(listen)}, nil
}

// Addrs returns where clients reach it, as host:port of each broker.
func (k *Kafka) Addrs() []string { return slices.Clone(k.addrs) }

// URL returns it as package pubsub opens it.
func (k *Kafka) URL() string { return "kafka://" + strings.Join(k.addrs, ",") }

// Cluster returns the kfake cluster: tests inject faults, move partitions and
// look at groups with it.
func (k *Kafka) Cluster() *kfake.Cluster { return k.cluster }

// Close stops the brokers, and cuts off the clients that are still connected.
// The data are gone if they were in no folder.
func (k *Kafka) Close() error { return k.close() }

func (k *Kafka) stop() error {
	if k.cluster != nil {
		k.cluster.Close()
	}
	if k.folder == nil {
		return nil
	}
	return k.folder.close()
}
