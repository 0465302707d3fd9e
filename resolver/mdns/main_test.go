package mdns_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/mdns"
)

// patience bounds every wait of these tests; only a failure takes so long.
const patience = time.Minute

var quiet = slog.New(slog.DiscardHandler)

// TestMain, in a child, is a process that announces something until it is
// killed.
func TestMain(m *testing.M) {
	if domain := os.Getenv(childEnv); domain != "" {
		os.Exit(announceForEver(domain))
	}
	goleak.VerifyTestMain(m)
}

var domains atomic.Int64

// domain returns one that no other test uses, nor an earlier run of the tests,
// nor one at the same time.
func domain() string {
	return fmt.Sprintf("t%d-%d-%d.test", os.Getpid(), time.Now().UnixNano(), domains.Add(1))
}

// open returns a registry on loopback, and nothing but loopback.
func open(t testing.TB, domain string, opts ...mdns.Option) *mdns.Registry {
	t.Helper()
	r, err := mdns.New(append([]mdns.Option{
		mdns.WithInterfaces("lo"), mdns.WithDomain(domain), mdns.WithTTL(5 * time.Second), mdns.WithQueryInterval(time.Second), mdns.WithLogger(quiet), mdns.Impatient,
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func register(t testing.TB, r resolver.Registrar, insts ...*resolver.Instance) resolver.Registration {
	t.Helper()
	reg, err := r.Register(deadline(t), insts...)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func instance(id string) *resolver.Instance {
	return &resolver.Instance{ID: id, Service: "svc", Addrs: []string{"127.0.0.1:80"}}
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// mention fails the test unless err has each of the texts.
func mention(t testing.TB, what string, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q in it", what, err, text)
		}
	}
}

// watched is what a watch has seen last.
type watched struct {
	t testing.TB

	mu     sync.Mutex // guards what follows
	last   []*resolver.Instance
	err    error
	yields int
}

// watch follows svc until the test ends.
func watch(t testing.TB, r resolver.Discovery) *watched {
	t.Helper()
	w := &watched{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for insts, err := range r.Watch(ctx, "svc") {
			w.mu.Lock()
			w.yields++
			if w.err = err; err == nil {
				w.last = insts
			}
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// String is the instances, and the error that ended the watch.
func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.yields == 0 {
		return "nothing yet"
	}
	var ids []string
	for _, inst := range w.last {
		id := inst.ID
		if inst.Version != "" {
			id += "@" + inst.Version
		}
		if inst.Draining {
			id += " draining"
		}
		ids = append(ids, id)
	}
	if w.err != nil {
		ids = append(ids, w.err.Error())
	}
	return strings.Join(ids, ", ")
}

func (w *watched) instances() []*resolver.Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *watched) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.yields
}

func (w *watched) wait(want string) {
	w.t.Helper()
	var got string
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the watch has seen %q", got)
		}
	}()
	wait.Until(w.t, fmt.Sprintf("%q", want), func() bool { got = w.String(); return got == want })
}
