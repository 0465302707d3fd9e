package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/resolver"
	_ "github.com/grpc-micro/micro/resolver/etcd"
)

// childRegistry, in the environment, makes this test binary a server: a process
// of its own, which can be killed.
const (
	childRegistry = "MICRO_TEST_REGISTRY"
	childID       = "MICRO_TEST_ID"
	childTCP      = "MICRO_TEST_TCP" // not empty: it has no local socket
)

// serveAsChild is main in such a process.
func serveAsChild(url string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	reg, err := resolver.Open(url)
	if err != nil {
		return err
	}
	svc := micro.New("test",
		micro.WithRegistry(reg),
		micro.WithID(os.Getenv(childID)),
		micro.WithAddress("127.0.0.1:0"),
		micro.WithDrainDelay(200*time.Millisecond),
		micro.WithLocalSocket(os.Getenv(childTCP) == ""),
		micro.WithLogger(slog.New(slog.DiscardHandler)))
	testpb.RegisterTestServiceServer(svc, server{})
	go func() {
		<-svc.Ready()
		fmt.Println("ready")
	}()
	return errors.Join(svc.Run(ctx), reg.Close())
}

type server struct {
	testpb.UnimplementedTestServiceServer
}

func (server) UnaryCall(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: req.GetPayload()}, nil
}

func (server) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

// process is a server in a process of its own.
type process struct {
	*exec.Cmd

	t  *testing.T
	id string
}

// startProcess returns when the server can be found.
func startProcess(t *testing.T, url, id string, env ...string) *process {
	t.Helper()
	p := &process{exec.Command(os.Args[0]), t, id}
	p.Env = append(os.Environ(), append(env, childRegistry+"="+url, childID+"="+id)...)
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	})
	ready := make(chan bool, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- strings.TrimSpace(line) == "ready"
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("%s ended before it was ready: %v", id, p.Wait())
		}
	case <-time.After(patience):
		t.Fatalf("%s was not ready in time", id)
	}
	return p
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

// terminate stops the server as an orchestrator does, and waits for its end.
func (p *process) terminate() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if err := p.Wait(); err != nil {
		p.t.Errorf("%s: %v", p.id, err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	_ = p.Wait() // it was killed
}
