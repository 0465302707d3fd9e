package etcd_test

import (
	"context"
	"fmt"
	"log"
	"net"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/etcd"
)

// A server announces itself in etcd, and a grpc client finds it there. Package
// dev brings the etcd; with one that runs, write its addresses into the URL.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server, err := dev.StartEtcd(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	reg, err := resolver.Open(server.URL() + "/shop/services?ttl=20s")
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close()

	// The server.
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	go func() { _ = srv.Serve(lis) }()
	defer srv.Stop()
	announcer := resolver.NewAnnouncer(reg, &resolver.Instance{ID: "greeter-1", Service: "greeter", Addrs: []string{lis.Addr().String()}})
	announcer.SetLogger(quiet)
	withdrawn := make(chan error)
	go func() { withdrawn <- announcer.Run(ctx) }()

	// The client.
	conn, err := grpc.NewClient("micro:///greeter",
		grpc.WithResolvers(resolver.NewBuilder(reg)),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	fmt.Println(answer.GetStatus(), err)

	cancel()
	fmt.Println("withdrawn:", <-withdrawn)
	// Output:
	// SERVING <nil>
	// withdrawn: <nil>
}

// New takes a client of etcd's, for all that a URL cannot say.
func ExampleNew() {
	ctx := context.Background()
	server, err := dev.StartEtcd(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: server.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	reg, err := etcd.New(client, etcd.WithPrefix("shop/services"))
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close()
	registration, err := reg.Register(ctx, &resolver.Instance{ID: "greeter-1", Service: "greeter", Version: "v2", Addrs: []string{"10.0.0.7:8080"}})
	if err != nil {
		log.Fatal(err)
	}
	res, err := client.Get(ctx, "shop/services/greeter/greeter-1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", res.Kvs[0].GetValue())
	names, err := reg.Services(ctx)
	fmt.Println(names, err)
	fmt.Println("withdrawn:", registration.Deregister(ctx))
	// Output:
	// {"Op":0,"Addr":"10.0.0.7:8080","Metadata":{"version":"v2"}}
	// [greeter] <nil>
	// withdrawn: <nil>
}
