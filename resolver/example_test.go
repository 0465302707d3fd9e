package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/grpc-micro/micro/resolver"
)

// A plain grpc server announces itself, and a plain grpc client finds it.
func Example() {
	reg, err := resolver.Open("memory://example")
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
	ctx, cancel := context.WithCancel(context.Background())
	withdrawn := make(chan error)
	go func() { withdrawn <- announcer.Run(ctx) }()

	// The client.
	conn, err := grpc.NewClient("micro:///greeter",
		grpc.WithResolvers(resolver.NewBuilder(reg)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	fmt.Println(answer.GetStatus(), err)

	// The stop: withdraw, then end.
	cancel()
	fmt.Println("withdrawn:", <-withdrawn)
	// Output:
	// SERVING <nil>
	// withdrawn: <nil>
}

// Watch yields what there is, and again after each change.
func ExampleDiscovery() {
	reg := resolver.NewMemory()
	defer reg.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	inst := &resolver.Instance{ID: "greeter-1", Service: "greeter", Addrs: []string{"10.0.0.7:8080"}}
	registration, err := reg.Register(ctx, inst)
	if err != nil {
		log.Fatal(err)
	}
	for insts, err := range reg.Watch(ctx, "greeter") {
		if err != nil {
			log.Fatal(err)
		}
		switch {
		case len(insts) == 0:
			fmt.Println("gone")
			cancel() // ends the loop
		case insts[0].Draining:
			fmt.Println("draining")
			_ = registration.Deregister(ctx)
		default:
			fmt.Println("found at", insts[0].Addrs[0])
			draining := inst.Clone() // what was registered is never changed
			draining.Draining = true
			_ = registration.Update(ctx, draining)
		}
	}
	// Output:
	// found at 10.0.0.7:8080
	// draining
	// gone
}

// A server that is about to stop drains first, so that no call is lost.
func ExampleAnnouncer_Update() {
	reg := resolver.NewMemory()
	defer reg.Close()
	announcer := resolver.NewAnnouncer(reg, &resolver.Instance{ID: "greeter-1", Service: "greeter", Addrs: []string{"10.0.0.7:8080"}})
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- announcer.Run(ctx) }()

	err := announcer.Update(ctx, func(i *resolver.Instance) { i.Draining = true })
	fmt.Println("draining:", err)
	cancel()
	fmt.Println("withdrawn:", <-stopped)
	// Output:
	// draining: <nil>
	// withdrawn: <nil>
}

// away is a registry that cannot be reached.
type away struct{}

func (away) Watch(context.Context, string) iter.Seq2[[]*resolver.Instance, error] {
	return func(yield func([]*resolver.Instance, error) bool) {
		yield(nil, errors.New("the registry is away"))
	}
}

// A client that is told to keep what it knows on disk starts while the registry
// is away, and says so.
func ExampleWithSnapshots() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	go func() { _ = srv.Serve(lis) }()
	defer srv.Stop()

	call := func(reg resolver.Discovery) {
		conn, err := grpc.NewClient("micro:///keeper",
			grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithSnapshots(dir), resolver.WithLinger(0), resolver.WithLogger(quiet))),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			log.Fatal(err)
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		fmt.Println(answer.GetStatus(), err)
		for _, s := range resolver.Watches() {
			if s.Service == "keeper" {
				fmt.Println("watching:", s.Watching, "instances:", s.Instances, "from a snapshot:", !s.Saved.IsZero())
			}
		}
	}

	reg := resolver.NewMemory()
	defer reg.Close()
	if _, err := reg.Register(context.Background(), &resolver.Instance{ID: "keeper-1", Service: "keeper", Addrs: []string{lis.Addr().String()}}); err != nil {
		log.Fatal(err)
	}
	call(reg)
	call(away{})
	// Output:
	// SERVING <nil>
	// watching: true instances: 1 from a snapshot: false
	// SERVING <nil>
	// watching: false instances: 1 from a snapshot: true
}
