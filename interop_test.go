package micro_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	naming "go.etcd.io/etcd/client/v3/naming/resolver"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/interceptors"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
	_ "github.com/grpc-micro/micro/resolver/etcd"
)

// A client that has never heard of micro finds a service with etcd's own
// resolver, balances with grpc's own policy, and talks to it on all four kinds
// of call.
func TestPlainClientWithEtcdsResolver(t *testing.T) {
	t.Parallel()
	etcd, err := dev.StartEtcd(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	reg, err := resolver.Open(etcd.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	for _, id := range []string{"a", "b"} {
		svc := run(t, newService(reg, &server{id: id}, micro.WithDrainDelay(0)))
		defer func() { _ = svc.stop() }()
	}

	client, err := clientv3.New(clientv3.Config{Endpoints: etcd.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	builder, err := naming.NewBuilder(client)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("etcd:///micro/services/"+testService,
		grpc.WithResolvers(builder),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := testpb.NewTestServiceClient(conn)
	ctx, answered := deadline(t), map[string]bool{}
	wait.Until(t, "both instances to answer", func() bool {
		var from peer.Peer
		id, err := call(ctx, c, grpc.WaitForReady(true), grpc.Peer(&from))
		if err != nil {
			t.Fatal(err)
		}
		if from.Addr.Network() != "tcp" {
			t.Errorf("it was led to the local socket %v", from.Addr)
		}
		answered[id] = true
		return len(answered) == 2
	})
	echo(t, ctx, c)
}

// The tool that everybody has: it lists, describes and calls, by reflection.
func TestGRPCurl(t *testing.T) {
	t.Parallel()
	grpcurl := filepath.Join(t.TempDir(), "grpcurl")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", grpcurl, "github.com/fullstorydev/grpcurl/cmd/grpcurl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	svc := run(t, newService(memory(t), &server{id: "a"}, micro.WithServerOptions(interceptors.Server()...)))
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"ADDR", "list"}, testService},
		{[]string{"ADDR", "list", testService}, testService + ".FullDuplexCall"},
		{[]string{"ADDR", "describe", testService + ".UnaryCall"}, "rpc UnaryCall"},
		{[]string{"-d", `{}`, "ADDR", testService + "/UnaryCall"}, `"body": "YQ=="`},
		{[]string{"-d", `{"response_parameters": [{}, {}]}`, "ADDR", testService + "/StreamingOutputCall"}, `"body": "YQ=="`},
		{[]string{"-d", `{"service": "micro.registry"}`, "ADDR", "grpc.health.v1.Health/Check"}, "SERVING"},
	} {
		args := []string{"-plaintext"}
		for _, arg := range test.args {
			args = append(args, strings.ReplaceAll(arg, "ADDR", svc.Addr().String()))
		}
		out, err := exec.CommandContext(deadline(t), grpcurl, args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), test.want) {
			t.Errorf("grpcurl %v: %v, and not %q:\n%s", test.args, err, test.want, out)
		}
	}
}
