package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/metrics"
	"github.com/grpc-micro/micro/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	reg := resolver.NewMemory()
	svc := micro.New("greeter", micro.WithRegistry(reg), micro.WithID("greeter-1"))
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.NewCollector(svc.Registration), metrics.NewSubscriptionCollector())
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(problems)
	_ = reg.Close()
	// Output: []
}

// away is a registry that can be away.
type away struct {
	*resolver.Memory

	is atomic.Bool
}

func (a *away) Register(ctx context.Context, insts ...*resolver.Instance) (resolver.Registration, error) {
	if a.is.Load() {
		return nil, errors.New("away")
	}
	return a.Memory.Register(ctx, insts...)
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	reg := &away{Memory: resolver.NewMemory()}
	defer reg.Close()
	reg.is.Store(true)
	svc := micro.New("registered", micro.WithRegistry(reg), micro.WithID("a"), micro.WithAddress("127.0.0.1:0"),
		micro.WithLogger(slog.New(slog.DiscardHandler)))
	c := metrics.NewCollector(svc.Registration, micro.New("nowhere").Registration)
	if n := testutil.CollectAndCount(c, "micro_registered"); n != 0 {
		t.Errorf("%d registrations before Run", n)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	wait.Until(t, "it to show", func() bool { return has(c, `micro_registered{id="a",service="registered"} 0`) })
	reg.is.Store(false)
	<-svc.Ready()
	wait.Until(t, "it to show", func() bool {
		return has(c, `micro_registered{id="a",service="registered"} 1`) && has(c, `micro_registrations_total{id="a",service="registered"} 1`)
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !has(c, `micro_registered{id="a",service="registered"} 0`) {
		t.Error("it is registered after the end")
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	c := metrics.NewCollector()
	for n := range 2 { // in two registries, one after the other
		reg := resolver.NewMemory()
		defer reg.Close()
		for id := range 3 {
			_, err := reg.Register(t.Context(), &resolver.Instance{ID: fmt.Sprint(id), Service: "watched", Addrs: []string{"127.0.0.1:1"}})
			if err != nil {
				t.Fatal(err)
			}
		}
		conn, err := micro.NewClient("watched", reg, micro.Insecure(), grpc.WithIdleTimeout(0))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Connect()
		wait.Until(t, "it to show", func() bool {
			return has(c, `micro_watch_up{service="watched"} 1`) &&
				has(c, fmt.Sprintf(`micro_watch_instances{service="watched"} %d`, 3*(n+1))) &&
				has(c, fmt.Sprintf(`micro_watch_clients{service="watched"} %d`, n+1)) &&
				has(c, `micro_watch_staleness_seconds{service="watched"} 0`)
		})
	}
}

// has reports whether the collector shows a line.
func has(c prometheus.Collector, line string) bool {
	name, _, _ := strings.Cut(line, "{")
	data, err := testutil.CollectAndFormat(c, expfmt.TypeTextPlain, name)
	return err == nil && strings.Contains(string(data), line+"\n")
}
