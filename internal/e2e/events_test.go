package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	_ "github.com/grpc-micro/micro/pubsub/kafka"
)

// childBroker, in the environment, makes this test binary a subscriber, which
// prints the number of each event that it has handled.
const childBroker = "MICRO_TEST_BROKER"

// event is one of a series; those of one key are numbered in their order.
type event struct {
	Key string `json:"key"`
	N   int    `json:"n"`
}

var events = pubsub.NewTopic[event]("e2e.events", pubsub.WithKey(func(e *event) string { return e.Key }))

// subscribeAsChild is main in such a process.
func subscribeAsChild(url string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	quiet := slog.New(slog.DiscardHandler)
	b, err := pubsub.Open(url)
	if err != nil {
		return err
	}
	svc := micro.New("subscriber", micro.WithAddress("127.0.0.1:0"), micro.WithBroker(b), micro.WithLogger(quiet))
	micro.Subscribe(svc, events, b, "group", func(_ context.Context, e *event) error {
		_, err := fmt.Printf("%s %d\n", e.Key, e.N) // one write: lines stay whole
		return err
	}, pubsub.WithSubscribeLogger(quiet), pubsub.WithReady(func() { fmt.Println("ready") }))
	return svc.Run(ctx)
}

// handled is what all subscribers have printed.
type handled struct {
	mu    sync.Mutex
	byKey map[string][]int
	total int
}

func (h *handled) add(t *testing.T, line string) {
	key, number, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Errorf("a subscriber says %q", line)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byKey[key] = append(h.byKey[key], n)
	h.total++
}

// lines is what a process writes, line by line.
type lines struct {
	rest []byte
	each func(line string)
}

func (l *lines) Write(data []byte) (int, error) {
	l.rest = append(l.rest, data...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(data), nil
		}
		l.rest = rest
		l.each(string(line))
	}
}

// startSubscriber returns when the process has joined the group.
func (h *handled) startSubscriber(t *testing.T, url string) *process {
	t.Helper()
	p := &process{exec.Command(os.Args[0]), t, "subscriber"}
	p.Env = append(os.Environ(), childBroker+"="+url)
	p.Stderr = os.Stderr
	ready := make(chan struct{})
	p.Stdout = &lines{each: func(line string) {
		if line == "ready" {
			close(ready)
			return
		}
		h.add(t, line)
	}}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	select {
	case <-ready:
	case <-deadline(t).Done():
		t.Fatal("the subscriber does not get ready")
	}
	return p
}

func (h *handled) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total
}

// Three subscribers are replaced one after the other while events come all the
// time: none is lost, none is handled twice, and those of a key stay in order.
func TestRollingRestartLosesNoEvent(t *testing.T) {
	const keys = 50
	kafka, err := dev.StartKafka(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kafka.Close() })
	url := kafka.URL() + "?auto_create=6"
	b, err := pubsub.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close(deadline(t)) }()
	h := &handled{byKey: make(map[string][]int)}
	fleet := make([]*process, 3)
	for n := range fleet {
		fleet[n] = h.startSubscriber(t, url)
	}

	ctx, stop := context.WithCancel(t.Context())
	published := make(map[string]int)
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			key := fmt.Sprintf("key-%d", n%keys)
			if err := events.Publish(context.WithoutCancel(ctx), b, &event{key, published[key]}); err != nil {
				t.Error(err)
				return
			}
			published[key]++
		}
	})
	for n, old := range fleet {
		fleet[n] = h.startSubscriber(t, url)
		old.terminate()
		at := h.count()
		wait.Until(t, "more events", func() bool { return h.count() >= at+100 })
	}
	stop()
	publishing.Wait()
	want := 0
	for _, n := range published {
		want += n
	}
	wait.Until(t, "the last event", func() bool { return h.count() >= want })
	for _, p := range fleet {
		p.terminate()
	}

	var errs []error
	for key, n := range published {
		got := h.byKey[key]
		for i := range n {
			if i >= len(got) || got[i] != i {
				errs = append(errs, fmt.Errorf("%s: number %d of %d is missing, twice or out of order", key, i, n))
				break
			}
		}
		if len(got) > n {
			errs = append(errs, fmt.Errorf("%s: %d events, and %d handled", key, n, len(got)))
		}
	}
	t.Logf("%d events through 3 restarts, %d handled", want, h.count())
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}
