package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"

	"github.com/grpc-micro/micro/dev"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/grpc-micro/micro/bench/peer"
)

// infra is the process that has etcd and Kafka. Each round has a new one, for
// its Kafka keeps every event in memory.
type infra struct {
	*process

	registry string // etcd's URL
	broker   string // host:port
}

func startInfra(ctx context.Context, jobs []job) (*infra, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"-infra"}
	for _, j := range jobs {
		if j.Kind == peer.ConsumeJob {
			args = append(args, strconv.Itoa(j.Size))
		}
	}
	p, err := start(ctx, self, args...)
	if err != nil {
		return nil, err
	}
	var addrs [2]string
	if err := json.Unmarshal([]byte(p.addr), &addrs); err != nil {
		p.stop()
		return nil, err
	}
	return &infra{p, addrs[0], addrs[1]}, nil
}

// serveInfra is what runs in it, until its input ends: with a topic full of
// events of each of the sizes.
func serveInfra(ctx context.Context, sizes []string) error {
	etcd, err := dev.StartEtcd(ctx)
	if err != nil {
		return err
	}
	kafka, err := dev.StartKafka(ctx, dev.WithPartitions(partitions)) // of the topics that the peers publish to, too
	if err != nil {
		return errors.Join(err, etcd.Close())
	}
	for _, size := range sizes {
		err = errors.Join(err, fill(ctx, kafka, size))
	}
	addrs, jsonErr := json.Marshal([]string{etcd.URL(), kafka.Addrs()[0]})
	if err = errors.Join(err, jsonErr); err == nil {
		err = json.NewEncoder(os.Stdout).Encode(peer.Reply{Addr: string(addrs)})
	}
	if err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	return errors.Join(err, kafka.Close(), etcd.Close())
}

// partitions is how many each topic has.
const partitions = 8

// fill makes the topic that consumers read.
func fill(ctx context.Context, kafka *dev.Kafka, size string) error {
	bytes, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	topic := peer.ConsumeTopic(bytes)
	if err := kafka.Cluster().CreateTopic(topic, partitions, nil); err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addrs()...), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	defer client.Close()
	var failed error
	value := make([]byte, bytes)
	for i := range peer.ConsumeCount(bytes) {
		client.Produce(ctx, &kgo.Record{Topic: topic, Key: strconv.AppendInt(nil, int64(i%1000), 10), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err // promises are called one by one
			}
		})
	}
	return errors.Join(client.Flush(ctx), failed)
}
