package micro_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/resolver"
)

// childRegistry, in the environment, makes this test binary a server: a process
// of its own, which can be killed.
const (
	childRegistry = "MICRO_TEST_REGISTRY"
	childID       = "MICRO_TEST_ID"
)

// serveAsChild is main in such a process.
func serveAsChild(url string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	reg, err := resolver.Open(url)
	if err != nil {
		return err
	}
	svc := newService(reg, &server{id: os.Getenv(childID)}, micro.WithDrainDelay(200*time.Millisecond))
	go func() {
		<-svc.Ready()
		fmt.Println("ready")
	}()
	if err := svc.Run(ctx); err != nil {
		return err
	}
	return reg.Close()
}

// process is a server in a process of its own.
type process struct {
	*exec.Cmd

	t  *testing.T
	id string
}

// startProcess returns when the server can be found.
func startProcess(t *testing.T, url, id string) *process {
	t.Helper()
	p := &process{exec.Command(os.Args[0]), t, id}
	p.Env = append(os.Environ(), childRegistry+"="+url, childID+"="+id)
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
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

// terminate stops the server as an orchestrator does, and waits for its end.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	if err := p.Wait(); err != nil {
		p.t.Errorf("%s: %v", p.id, err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	p.t.Helper()
	if err := p.Process.Kill(); err != nil {
		p.t.Error(err)
	}
	_ = p.Wait() // signal: killed
}

// load is what clients do all the while, each with a registry and a connection
// of its own.
type load struct {
	calls, failed atomic.Int64
	callers       int
	stop          func()
}

// startLoad makes unary calls and, if streams is set, as many streams.
func startLoad(t *testing.T, url string, streams bool, opts ...grpc.DialOption) *load {
	t.Helper()
	const clients, callers = 3, 16
	l := &load{callers: clients * callers}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range clients {
		reg, err := resolver.Open(url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = reg.Close() }) // after dial's
		c := dial(t, "test", reg, opts...)
		for n := range callers {
			wg.Go(func() {
				for ctx.Err() == nil {
					err := oneCall(c, streams && n%2 == 1)
					l.calls.Add(1)
					if err != nil && l.failed.Add(1) <= 5 {
						t.Logf("failed: %v", err)
					}
				}
			})
		}
	}
	l.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(l.stop)
	return l
}

// oneCall makes a unary call, or holds a conversation on a stream.
func oneCall(c testpb.TestServiceClient, stream bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !stream {
		_, err := call(ctx, c)
		return err
	}
	s, err := c.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		if err := s.Send(&testpb.StreamingOutputCallRequest{}); err != nil {
			_, err = s.Recv()
			return err
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// more waits until so many further calls were made.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	at := l.calls.Load()
	eventually(t, "more calls", func() bool { return l.calls.Load() >= at+n })
}

// Five server processes are replaced one after the other under constant load,
// without retries: no call fails, unary or stream. MICRO_SOAK=1 goes on until
// 100,000 calls were made.
func TestRollingRestartOfProcesses(t *testing.T) {
	etcd := startEtcd(t)
	fleet := make([]*process, 5)
	for n := range fleet {
		fleet[n] = startProcess(t, etcd.URL(), fmt.Sprintf("server-%d-0", n))
	}
	l := startLoad(t, etcd.URL(), true)
	l.more(t, 100)
	rounds, least := 0, int64(1)
	if os.Getenv("MICRO_SOAK") != "" {
		least = 100_000
	}
	for ; rounds < 1 || l.calls.Load() < least; rounds++ {
		for n, old := range fleet {
			fleet[n] = startProcess(t, etcd.URL(), fmt.Sprintf("server-%d-%d", n, rounds+1))
			old.terminate()
			l.more(t, 100)
		}
	}
	l.stop()
	for _, p := range fleet {
		p.terminate()
	}
	t.Logf("%d restarts, %d calls, %d failed", rounds*len(fleet), l.calls.Load(), l.failed.Load())
	if l.failed.Load() > 0 {
		t.Errorf("%d of %d calls failed", l.failed.Load(), l.calls.Load())
	}
}

// One of three servers is killed with -9. Calls that may be repeated, and whose
// service config says so, do not fail; of others only those fail that were on
// the wire.
func TestKilledProcess(t *testing.T) {
	etcd := startEtcd(t)
	for _, test := range []struct {
		name string
		opts []grpc.DialOption
		most func(callers int) int64
	}{
		{"without retries", nil, func(callers int) int64 { return int64(callers) }},
		{
			"with retries",
			[]grpc.DialOption{grpc.WithDefaultServiceConfig(`{
			"loadBalancingConfig": [{"micro_round_robin": {}}],
			"healthCheckConfig": {"serviceName": ""},
			"methodConfig": [{"name": [{}], "retryPolicy": {
				"maxAttempts": 4, "initialBackoff": "0.02s", "maxBackoff": "0.5s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`)},
			func(int) int64 { return 0 },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var fleet []*process
			for n := range 3 {
				fleet = append(fleet, startProcess(t, etcd.URL(), fmt.Sprintf("%s-%d", strings.Fields(test.name)[0], n)))
			}
			l := startLoad(t, etcd.URL(), false, test.opts...)
			l.more(t, 200)
			fleet[0].kill()
			l.more(t, 2000)
			l.stop()
			t.Logf("%d of %d calls failed; %d could be on the wire", l.failed.Load(), l.calls.Load(), l.callers)
			if l.failed.Load() > test.most(l.callers) {
				t.Errorf("%d calls failed, want at most %d", l.failed.Load(), test.most(l.callers))
			}
			fleet[1].terminate()
			fleet[2].terminate()
		})
	}
}

func startEtcd(t *testing.T) *dev.Etcd {
	t.Helper()
	etcd, err := dev.StartEtcd(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcd.Close() })
	return etcd
}
