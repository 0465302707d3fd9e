package channelz_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	channelzpb "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/channelz"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	svc := micro.New("greeter")
	channelz.Register(svc) // beside greeterv1.RegisterGreeterServer(svc, …)
	_, there := svc.GetServiceInfo()["grpc.channelz.v1.Channelz"]
	fmt.Println(there)
	// Output: true
}

// A tool sees the server, and its own connection among the sockets.
func TestServers(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	channelz.Register(s)
	go func() { _ = s.Serve(lis) }()
	defer s.Stop()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := channelzpb.NewChannelzClient(conn)
	servers, err := c.GetServers(ctx, &channelzpb.GetServersRequest{})
	if err != nil || len(servers.GetServer()) == 0 {
		t.Fatalf("servers: %v, %v", servers, err)
	}
	sockets, err := c.GetServerSockets(ctx, &channelzpb.GetServerSocketsRequest{ServerId: servers.GetServer()[0].GetRef().GetServerId()})
	if err != nil || len(sockets.GetSocketRef()) == 0 {
		t.Errorf("sockets: %v, %v", sockets, err)
	}
}
