package dev_test

import (
	"context"
	"fmt"
	"log"

	kafkago "github.com/segmentio/kafka-go"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/dev"
)

func ExampleStartEtcd() {
	ctx := context.Background()
	etcd, err := dev.StartEtcd(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer etcd.Close()

	client, err := clientv3.New(clientv3.Config{Endpoints: etcd.Endpoints()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Put(ctx, "greeting", "hello"); err != nil {
		log.Fatal(err)
	}
	res, err := client.Get(ctx, "greeting")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(res.Kvs[0].GetValue()))
	// Output: hello
}

func ExampleStartKafka() {
	ctx := context.Background()
	kafka, err := dev.StartKafka(ctx, dev.WithPartitions(1))
	if err != nil {
		log.Fatal(err)
	}
	defer kafka.Close()

	conn, err := kafkago.DialLeader(ctx, "tcp", kafka.Addrs()[0], "greetings", 0) // makes the topic
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		log.Fatal(err)
	}
	message, err := conn.ReadMessage(1 << 10)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(message.Value))
	// Output: hello
}
