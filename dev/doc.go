// Package dev starts a real etcd and a broker that speaks Kafka's protocol, in
// this process, for development and for tests: nothing to install, and up in a
// fraction of a second.
//
//	etcd, err := dev.StartEtcd(ctx)
//	…
//	defer etcd.Close()
//	kafka, err := dev.StartKafka(ctx)
//	…
//	defer kafka.Close()
//	registry, err := resolver.Open(etcd.URL())
//	broker, err := pubsub.Open(kafka.URL())
//
// etcd is etcd. The broker is kfake of the franz-go project: it has topics,
// partitions, consumer groups, offsets and transactions, on disk if a folder is
// given, and none of what a cluster of real brokers is for. Neither is meant
// for production, and a service that does not import this package does not
// link them.
package dev
