package dev

import "fmt"

const defaultPartitions = 6

// Option configures StartEtcd and StartKafka.
type Option func(*options)

type options struct {
	dataDir    string
	address    string
	partitions int
	brokers    int
}

// WithDataDir keeps the data in a folder, which is made if it is not there, so
// that a restart finds it again. The folder is locked while it is in use. The
// default is a folder of its own that Close removes.
func WithDataDir(dir string) Option { return func(o *options) { o.dataDir = dir } }

// WithAddress sets where to listen, as "host:port". The default is a free port
// of 127.0.0.1.
func WithAddress(addr string) Option { return func(o *options) { o.address = addr } }

// WithPartitions sets how many partitions a topic has that is made by being
// used. The default is 6. It is for StartKafka.
func WithPartitions(n int) Option { return func(o *options) { o.partitions = n } }

// WithBrokers sets how many brokers the cluster has, so that partitions can
// move between them. The default is 1, and the only number that WithAddress
// goes with. It is for StartKafka.
func WithBrokers(n int) Option { return func(o *options) { o.brokers = n } }

func newOptions(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

func (o *options) checkEtcd() error {
	if o.partitions != 0 || o.brokers != 0 {
		return fmt.Errorf("dev: start etcd: WithPartitions and WithBrokers are for StartKafka")
	}
	return nil
}

func (o *options) checkKafka() error {
	if o.partitions == 0 {
		o.partitions = defaultPartitions
	}
	if o.brokers == 0 {
		o.brokers = 1
	}
	switch {
	case o.partitions < 0:
		return fmt.Errorf("dev: start kafka: WithPartitions(%d): give at least 1", o.partitions)
	case o.brokers < 0:
		return fmt.Errorf("dev: start kafka: WithBrokers(%d): give at least 1", o.brokers)
	case o.brokers > 1 && o.address != "":
		return fmt.Errorf("dev: start kafka: %d brokers cannot all listen on %s: leave one of the options out", o.brokers, o.address)
	}
	return nil
}
