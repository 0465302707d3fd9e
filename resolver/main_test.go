package resolver_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/grpc-micro/micro/resolver"
)

// patience bounds every wait of these tests; only a failure takes so long.
const patience = time.Minute

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	if os.Getenv(localChild) != "" {
		if err := sayLocal(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func memory(t testing.TB) *resolver.Memory {
	t.Helper()
	m := resolver.NewMemory()
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// fakeConn is a ClientConn that tells how many endpoints each update has.
type fakeConn struct {
	grpcresolver.ClientConn

	updates chan int
}

func (c *fakeConn) UpdateState(s grpcresolver.State) error {
	c.updates <- len(s.Endpoints)
	return nil
}

func (c *fakeConn) ReportError(error) {}

func (c *fakeConn) build(t testing.TB, d resolver.Discovery) grpcresolver.Resolver {
	t.Helper()
	r, err := resolver.NewBuilder(d).Build(grpcresolver.Target{URL: url.URL{Scheme: "micro", Path: "/svc"}}, c, grpcresolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
