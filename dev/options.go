package dev

import (
	"errors"
	"fmt"
	"log/slog"
)

const defaultPartitions = 6

// Option configures StartEtcd and StartKafka.
type Option func(*options)

type options struct {
	dataDir    string
	address    string
	nodes      int
	brokers    int
	partitions int
	logger     *slog.Logger
}

// WithDataDir keeps the data in a folder, which is made if it is not there, so
// that a restart finds them again. The folder is locked while it is in use; one
// folder may serve an etcd and a Kafka. By default they are gone with Close.
func WithDataDir(dir string) Option { return func(o *options) { o.dataDir = dir } }

// WithAddress sets where to listen, as "host:port". The default is a free port
// of 127.0.0.1.
func WithAddress(addr string) Option { return func(o *options) { o.address = addr } }

// WithNodes sets how many nodes the etcd cluster has, so that tests can stop
// some of them. The default is 1, and the only number that WithAddress and
// WithDataDir go with. It is for StartEtcd. Connections between the nodes may
// outlive Close for 5 s.
func WithNodes(n int) Option { return func(o *options) { o.nodes = n } }

// WithBrokers sets how many brokers the Kafka cluster has, so that partitions
// can move between them. The default is 1, and the only number that WithAddress
// goes with. It is for StartKafka.
func WithBrokers(n int) Option { return func(o *options) { o.brokers = n } }

// WithPartitions sets how many partitions a topic has that is made by being
// used. The default is 6. It is for StartKafka.
func WithPartitions(n int) Option { return func(o *options) { o.partitions = n } }

// WithLogger sets where the servers log. By default they do not.
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

func newOptions(opts []Option) options {
	o := options{logger: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

func (o *options) checkEtcd() error {
	if o.nodes == 0 {
		o.nodes = 1
	}
	switch {
	case o.partitions != 0 || o.brokers != 0:
		return errors.New("dev: start etcd: WithPartitions and WithBrokers are for StartKafka")
	case o.nodes < 0:
		return fmt.Errorf("dev: start etcd: WithNodes(%d): give at least 1", o.nodes)
	case o.nodes > 1 && o.address != "":
		return fmt.Errorf("dev: start etcd: %d nodes cannot all listen on %s: leave one of the options out", o.nodes, o.address)
	case o.nodes > 1 && o.dataDir != "":
		return fmt.Errorf("dev: start etcd: WithNodes(%d) is for tests and keeps no data in %s: leave one of the options out", o.nodes, o.dataDir)
	}
	return nil
}

// etcdAddresses returns where the nodes listen for clients, then where they do
// for each other.
func (o *options) etcdAddresses() []string {
	addrs := make([]string, 2*o.nodes)
	for i := range addrs {
		addrs[i] = "127.0.0.1:0"
	}
	if o.address != "" {
		addrs[0] = o.address
	}
	return addrs
}

func (o *options) checkKafka() error {
	if o.partitions == 0 {
		o.partitions = defaultPartitions
	}
	if o.brokers == 0 {
		o.brokers = 1
	}
	switch {
	case o.nodes != 0:
		return errors.New("dev: start kafka: WithNodes is for StartEtcd: use WithBrokers")
	case o.partitions < 0:
		return fmt.Errorf("dev: start kafka: WithPartitions(%d): give at least 1", o.partitions)
	case o.brokers < 0:
		return fmt.Errorf("dev: start kafka: WithBrokers(%d): give at least 1", o.brokers)
	case o.brokers > 1 && o.address != "":
		return fmt.Errorf("dev: start kafka: %d brokers cannot all listen on %s: leave one of the options out", o.brokers, o.address)
	}
	return nil
}
