package micro_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

func TestRunReportsBadOptions(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	reg := memory(t)
	quiet := micro.WithLogger(slog.New(slog.DiscardHandler))
	for name, test := range map[string]struct {
		svc  *micro.Service
		want []string
	}{
		"empty name":        {micro.New("", quiet), []string{"service name is empty"}},
		"malformed name":    {micro.New("a b", quiet), []string{`"a b"`, "letters, digits"}},
		"no logger":         {micro.New("test", micro.WithLogger(nil)), []string{"WithLogger(nil)"}},
		"timeout":           {micro.New("test", quiet, micro.WithShutdownTimeout(-time.Second)), []string{"WithShutdownTimeout(-1s)"}},
		"no broker":         {micro.New("test", quiet, micro.WithBroker(nil)), []string{"WithBroker(nil)"}},
		"two at once":       {micro.New("", quiet, micro.WithShutdownTimeout(0)), []string{"service name is empty", "WithShutdownTimeout(0s)"}},
		"address in use":    {micro.New("test", quiet, micro.WithAddress(busy.Addr().String())), []string{busy.Addr().String(), "WithAddress"}},
		"address malformed": {micro.New("test", quiet, micro.WithAddress("nowhere")), []string{`"nowhere"`, "WithAddress"}},
		"bad ID":            {micro.New("test", quiet, micro.WithRegistry(reg), micro.WithID("a/b")), []string{"instance ID", `"a/b"`}},
		"bad version":       {micro.New("test", quiet, micro.WithRegistry(reg), micro.WithVersion("v1\n")), []string{"version", "control character"}},
		"bad label":         {micro.New("test", quiet, micro.WithRegistry(reg), micro.WithLabels(map[string]string{"": "x"})), []string{"label", "no name"}},
		"bad zone":          {micro.New("test", quiet, micro.WithRegistry(reg), micro.WithZone("\xff")), []string{"zone", "UTF-8"}},
		"unspecified":       {micro.New("test", quiet, micro.WithRegistry(reg), micro.WithAdvertise("0.0.0.0:80")), []string{`"0.0.0.0:80"`, "unspecified"}},
		"listener and address": {
			micro.New("test", quiet, micro.WithListener(bufconn.Listen(1)), micro.WithAddress("127.0.0.1:0")),
			[]string{"WithListener", "WithAddress"},
		},
		"listener without port": {
			micro.New("test", quiet, micro.WithListener(bufconn.Listen(1)), micro.WithRegistry(reg)),
			[]string{"WithAdvertise"},
		},
		"loopback towards another host": {
			micro.New("test", quiet, micro.WithAddress("127.0.0.1:0"), micro.WithRegistry(remote{reg})),
			[]string{"no other host reaches 127.0.0.1:", "192.0.2.1:2379", "WithAdvertise"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.svc.Run(deadline(t))
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Run: %v, want %q in it", err, want)
				}
			}
		})
	}
}

// remote is a registry on another host; the address is one that is reserved
// for documentation, and nothing is sent there.
type remote struct{ *resolver.Memory }

func (remote) Endpoints() []string { return []string{"192.0.2.1:2379"} }

func TestRunReportsBadRegistrations(t *testing.T) {
	t.Parallel()
	svc := micro.New("test", micro.WithLogger(slog.New(slog.DiscardHandler)))
	testpb.RegisterTestServiceServer(svc, &server{})
	testpb.RegisterTestServiceServer(svc, &server{})
	svc.RegisterService(&testpb.ReconnectService_ServiceDesc, "a string")
	svc.RegisterService(nil, nil)
	svc.Go(nil)
	err := svc.Run(deadline(t))
	for _, want := range []string{testService + " was registered twice", "a string cannot serve", "nil ServiceDesc", "Go(nil)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run: %v, want %q in it", err, want)
		}
	}
	if err := svc.Run(deadline(t)); err == nil || !strings.Contains(err.Error(), "second time") {
		t.Errorf("second Run: %v", err)
	}
}

func TestNewClientReportsBadInput(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	for name, test := range map[string]struct {
		service string
		d       resolver.Discovery
		opts    []grpc.DialOption
		want    string
	}{
		"empty name":     {"", reg, []grpc.DialOption{micro.Insecure()}, "service name is empty"},
		"malformed name": {"a/b", reg, []grpc.DialOption{micro.Insecure()}, `"a/b"`},
		"no registry":    {"test", nil, []grpc.DialOption{micro.Insecure()}, "no registry"},
		"no credentials": {"test", reg, nil, "micro.Insecure()"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := micro.NewClient(test.service, test.d, test.opts...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("NewClient: %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestCallToNobodyFailsWithTheReason(t *testing.T) {
	t.Parallel()
	_, err := call(deadline(t), dial(t, "nobody", memory(t)))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no instances of nobody") {
		t.Errorf("%v, want Unavailable: no instances of nobody", err)
	}
}

func TestReadyCheck(t *testing.T) {
	t.Parallel()
	tries := 0
	svc := newService(memory(t), &server{id: "a"}, micro.WithReadyCheck(func(context.Context) error {
		if tries++; tries < 3 {
			return errors.New("the cache is cold")
		}
		return nil
	}))
	run(t, svc)
	if tries != 3 {
		t.Errorf("%d tries, want 3", tries)
	}
}

func TestStopBeforeReady(t *testing.T) {
	t.Parallel()
	checked := make(chan struct{}, 100)
	r := start(t, newService(memory(t), &server{id: "a"}, micro.WithReadyCheck(func(context.Context) error {
		checked <- struct{}{}
		return errors.New("never")
	})))
	<-checked
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// A registry that is away keeps nobody from serving, and the service is found
// as soon as it is back.
func TestRegistryAwayAtTheStart(t *testing.T) {
	t.Parallel()
	reg := &flaky{Memory: memory(t)}
	reg.away.Store(true)
	r := start(t, newService(reg, &server{id: "a"}))
	wait.Until(t, "an attempt to register", reg.tried.Load)
	conn, err := grpc.NewClient(r.Addr().String(), micro.Insecure())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := call(deadline(t), testpb.NewTestServiceClient(conn)); err != nil {
		t.Errorf("a client that knows the address: %v", err)
	}
	select {
	case <-r.Ready():
		t.Error("ready without being registered")
	default:
	}
	reg.away.Store(false)
	<-r.Ready()
	if _, err := call(deadline(t), dial(t, "test", reg)); err != nil {
		t.Error(err)
	}
}
