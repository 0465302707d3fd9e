package kafka_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// Servers and members that are to be killed are processes of their own: this
// test binary, run again in a role.
const (
	childRole    = "MICRO_TEST_ROLE" // "broker" or "member"
	childAddrs   = "MICRO_TEST_ADDRS"
	childDir     = "MICRO_TEST_DIR"
	childTopic   = "MICRO_TEST_TOPIC"
	childSession = "MICRO_TEST_SESSION"
)

// benchPartitions is how many partitions a topic of the child broker has that is
// made by being used.
const benchPartitions = 8

// child plays a role until its stdin ends, which it does with its parent.
func child(role string) {
	ctx := context.Background()
	addrs := strings.Split(os.Getenv(childAddrs), ",")
	switch role {
	case "broker":
		opts := []dev.Option{dev.WithAddress(addrs[0]), dev.WithPartitions(benchPartitions)}
		if dir := os.Getenv(childDir); dir != "" {
			opts = append(opts, dev.WithDataDir(dir))
		}
		k, err := dev.StartKafka(ctx, opts...)
		if err != nil {
			log.Fatal(err)
		}
		defer k.Close()
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "member":
		session, err := time.ParseDuration(os.Getenv(childSession))
		if err != nil {
			log.Fatal(err)
		}
		b, err := kafka.New(addrs, kafka.WithSessionTimeout(session), kafka.WithConnectTimeout(wait.Patience), kafka.WithLogger(quiet))
		if err != nil {
			log.Fatal(err)
		}
		log.Fatal(b.Subscribe(ctx, os.Getenv(childTopic), os.Getenv(childTopic), tell(), pubsub.WithReady(func() { fmt.Println("ready") }), pubsub.WithSubscribeLogger(quiet)))
	}
}

// tell is the handler of a member: a message is handled when the parent has
// taken it down, and said so.
func tell() pubsub.Handler {
	var mu sync.Mutex
	answers := bufio.NewReader(os.Stdin)
	return func(_ context.Context, d *pubsub.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%s %s\n", d.Key, d.Value)
		if _, err := answers.ReadByte(); err != nil {
			os.Exit(1) // the parent has gone
		}
		return nil
	}
}

// process is a child.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	ended  sync.WaitGroup
}

// start runs a child, and returns when it is ready. The test kills it, if it has
// not been by then.
func start(t testing.TB, role string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), self)
	cmd.Env = append(append(os.Environ(), childRole+"="+role), env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	t.Cleanup(p.kill)
	ready := make(chan string, 1)
	go func() {
		line, _ := p.stdout.ReadString('\n')
		ready <- line
	}()
	if line := receive(t, ready); line != "ready\n" {
		t.Fatalf("the %s says %q", role, line)
	}
	return p
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it closes stdout, so that relay ends
	p.ended.Wait()
}

// relay takes down in l what a member handles, until it is killed.
func (p *process) relay(l *ledger) {
	p.ended.Go(func() {
		for {
			line, err := p.stdout.ReadString('\n')
			if err != nil {
				return
			}
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			_ = l.handle(context.Background(), &pubsub.Delivery{Message: &pubsub.Message{Key: []byte(key), Value: []byte(value)}})
			if _, err := p.stdin.Write([]byte{'\n'}); err != nil {
				return
			}
		}
	})
}

var quiet = slog.New(slog.DiscardHandler)
