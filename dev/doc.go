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
//	broker, err := pubsub.Open(kafka.URL() + "?auto_create=6") // topics are made by being used
//
// They listen on free ports of 127.0.0.1 and forget everything at Close. For a
// place that clients of other processes know, and for data that are there
// tomorrow:
//
//	etcd, err := dev.StartEtcd(ctx, dev.WithAddress("127.0.0.1:2379"), dev.WithDataDir("/var/tmp/micro"))
//
// etcd is etcd, with fewer scruples: it is stopped as by a crash, and forced to
// disk only where the data outlive it. The broker is kfake of the franz-go
// project: it has topics, partitions, consumer groups, offsets and
// transactions, and none of what a cluster of real brokers is for. Neither is
// meant for production, and a service that does not import this package does
// not link them.
//
// Tests stop and start nodes of etcd ([WithNodes], [Etcd.StopNode]), and make
// the broker refuse, lose and move things ([Kafka.Cluster]).
package dev
