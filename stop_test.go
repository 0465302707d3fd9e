package micro_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/test/bufconn"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

// recorder is a registry that writes down what reaches it, in order with the
// other steps of a stop.
type recorder struct {
	*resolver.Memory

	told chan struct{} // if not nil, a withdrawal waits until it is closed

	mu    sync.Mutex
	steps []string
}

func (r *recorder) add(step string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, step)
}

func (r *recorder) Register(ctx context.Context, insts ...*resolver.Instance) (resolver.Registration, error) {
	reg, err := r.Memory.Register(ctx, insts...)
	r.add("announced")
	return recorded{reg, r}, err
}

type recorded struct {
	resolver.Registration

	r *recorder
}

func (r recorded) Update(ctx context.Context, insts ...*resolver.Instance) error {
	if insts[0].Draining {
		r.r.add("draining")
	}
	return r.Registration.Update(ctx, insts...)
}

func (r recorded) Deregister(ctx context.Context) error {
	if r.r.told != nil {
		select {
		case <-r.r.told:
		case <-ctx.Done(): // which is an error
		}
	}
	r.r.add("withdrawn")
	return r.Registration.Deregister(ctx)
}

type recordedBroker struct {
	pubsub.Broker // nil: it is closed and nothing else

	r *recorder
}

func (b recordedBroker) Close(context.Context) error {
	b.r.add("broker closed")
	return nil
}

func TestOrderOfTheStop(t *testing.T) {
	t.Parallel()
	rec := &recorder{Memory: memory(t), told: make(chan struct{})}
	began := make(chan struct{})
	srv := &server{id: "a", duo: func(stream testpb.TestService_FullDuplexCallServer) error {
		close(began)
		<-micro.Stopping(stream.Context())
		rec.add("stream told")
		if stream.Context().Err() != nil {
			rec.add("stream context ended too early")
		}
		close(rec.told)
		return nil
	}}
	svc := newService(rec, srv, micro.WithDrainDelay(50*time.Millisecond),
		micro.WithBroker(recordedBroker{r: rec}))
	svc.Go(func(ctx context.Context) error {
		<-ctx.Done()
		rec.add("task ended")
		return nil
	})
	r := run(t, svc)
	duo, err := dial(t, "test", rec).FullDuplexCall(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := duo.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream was cut: %v", err)
	}
	got := strings.Join(rec.steps, ", ")
	told := "announced, stream told, draining, withdrawn, task ended, broker closed"
	if alt := "announced, draining, stream told, withdrawn, task ended, broker closed"; got != told && got != alt {
		t.Errorf("steps: %s\nwant:  %s", got, told)
	}
}

func TestStuckHandlersAreBoundedAndNamed(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	release, began := make(chan struct{}), make(chan struct{})
	srv := &server{id: "a", unary: func(context.Context) error {
		close(began)
		<-release
		return nil
	}}
	r := run(t, newService(reg, srv, micro.WithShutdownTimeout(200*time.Millisecond)))
	c := dial(t, "test", reg)
	called := make(chan error, 1)
	go func() {
		_, err := call(context.Background(), c)
		called <- err
	}()
	<-began
	err := r.stop()
	if err == nil || !strings.Contains(err.Error(), "1 of /"+testService+"/UnaryCall") {
		t.Errorf("Run returned %v, want the stuck method named", err)
	}
	select {
	case err := <-called:
		if err == nil {
			t.Error("the cut call did not fail")
		}
	case <-deadline(t).Done():
		t.Error("the call was not cut")
	}
	close(release)
}

// In a bubble, where the moments that a stop has are as long on a busy machine.
func TestStreamsThatDoNotStopAreEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := &server{id: "a", duo: func(stream testpb.TestService_FullDuplexCallServer) error {
			if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
				return err
			}
			<-stream.Context().Done()
			return errors.New("ended by its context")
		}}
		lis := bufconn.Listen(1 << 20)
		svc := micro.New("test", micro.WithListener(lis), micro.WithAdvertise("test:80"), micro.WithShutdownTimeout(500*time.Millisecond), micro.WithLogger(slog.New(slog.DiscardHandler)))
		testpb.RegisterTestServiceServer(svc, srv)
		r := run(t, svc)
		conn, err := grpc.NewClient("passthrough:///test", micro.Insecure(),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		duo, err := testpb.NewTestServiceClient(conn).FullDuplexCall(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := duo.Recv(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took < 400*time.Millisecond || took > 500*time.Millisecond {
			t.Errorf("the stop took %v, want four fifths of 500 ms, and a moment", took)
		}
		if _, err := duo.Recv(); err == nil || !strings.Contains(err.Error(), "ended by its context") {
			t.Errorf("the handler's own status did not reach the client: %v", err)
		}
	})
}

func TestTasks(t *testing.T) {
	t.Parallel()
	cause := errors.New("no more work")
	for name, test := range map[string]struct {
		task func(context.Context) error
		want string
	}{
		"error": {func(context.Context) error { return cause }, cause.Error()},
		"panic": {func(context.Context) error { panic("oh") }, "a task panicked: oh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			svc := newService(memory(t), &server{id: "a"})
			svc.Go(func(context.Context) error { return nil }) // being done is no reason to stop
			svc.Go(test.task)
			if err := svc.Run(deadline(t)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Run: %v, want %q", err, test.want)
			}
		})
	}
	t.Run("while running", func(t *testing.T) {
		t.Parallel()
		r := run(t, newService(memory(t), &server{id: "a"}))
		ran := make(chan struct{})
		r.Go(func(context.Context) error { close(ran); return nil })
		<-ran
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		r.Go(func(context.Context) error { t.Error("started after the stop"); return nil })
	})
}

// Three instances are replaced one after the other, twice, under load: no call
// fails, no stream breaks, and nobody retries.
func TestRollingRestartFailsNoCall(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	opts := []micro.Option{micro.WithDrainDelay(30 * time.Millisecond)}
	var live []*running
	for n := range 3 {
		live = append(live, run(t, newService(reg, &server{id: fmt.Sprintf("old-%d", n)}, opts...)))
	}
	var calls atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		c := dial(t, "test", reg)
		for n := range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if n%2 == 0 {
						if _, err := call(deadline(t), c); err != nil {
							t.Errorf("call: %v", err)
							return
						}
					} else {
						echo(t, deadline(t), c)
					}
					calls.Add(1)
				}
			})
		}
	}
	for round := range 2 {
		for n := range live {
			next := run(t, newService(reg, &server{id: fmt.Sprintf("new-%d-%d", round, n)}, opts...))
			if err := live[n].stop(); err != nil {
				t.Error(err)
			}
			live[n] = next
			at := calls.Load()
			wait.Until(t, "more calls", func() bool { return calls.Load() >= at+100 || t.Failed() })
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d calls, none failed", calls.Load())
}
