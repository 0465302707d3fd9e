package mdns_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/mdns"
)

// A server announces itself, and a grpc client finds it. Both open a registry of
// their own, as they would on two machines; there the URL is mdns://.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	// The server.
	here, err := resolver.Open("mdns://lo?domain=example.test")
	if err != nil {
		log.Fatal(err)
	}
	defer here.Close()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	go func() { _ = srv.Serve(lis) }()
	defer srv.Stop()
	announcer := resolver.NewAnnouncer(here, &resolver.Instance{ID: "greeter-1", Service: "greeter", Addrs: []string{lis.Addr().String()}})
	announcer.SetLogger(quiet)
	withdrawn := make(chan error)
	go func() { withdrawn <- announcer.Run(ctx) }()

	// The client.
	there, err := resolver.Open("mdns://lo?domain=example.test")
	if err != nil {
		log.Fatal(err)
	}
	defer there.Close()
	conn, err := grpc.NewClient("micro:///greeter",
		grpc.WithResolvers(resolver.NewBuilder(there)),
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

// New takes options for what a URL says, and a logger.
func ExampleNew() {
	ctx := context.Background()
	reg, err := mdns.New(mdns.WithInterfaces("lo"), mdns.WithDomain("new.example.test"), mdns.WithLogger(quiet))
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close()
	registration, err := reg.Register(ctx, &resolver.Instance{ID: "greeter-1", Service: "greeter", Version: "v2", Addrs: []string{"10.0.0.7:8080"}})
	if err != nil {
		log.Fatal(err)
	}
	names, err := reg.Services(ctx)
	fmt.Println(names, err)
	for insts, err := range reg.Watch(ctx, "greeter") {
		fmt.Println(insts[0].ID, insts[0].Version, insts[0].Addrs, err)
		break
	}
	fmt.Println("withdrawn:", registration.Deregister(ctx))
	// Output:
	// [greeter] <nil>
	// greeter-1 v2 [10.0.0.7:8080] <nil>
	// withdrawn: <nil>
}
