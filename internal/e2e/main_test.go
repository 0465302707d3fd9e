// Package e2e_test has the tests that need whole processes: servers that are
// restarted, killed and stopped under load, on an etcd that goes away.
package e2e_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grpc-micro/micro/dev"
)

// patience bounds every wait of these tests; only a failure takes so long.
const patience = time.Minute

func TestMain(m *testing.M) {
	for name, serve := range map[string]func(url string) error{childRegistry: serveAsChild, childBroker: subscribeAsChild} {
		if url := os.Getenv(name); url != "" {
			if err := serve(url); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	// Nodes of etcd leave connections between them open, which end when they were
	// silent for 5 s.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).abortPendingRead"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"))
}

func startEtcd(t *testing.T, opts ...dev.Option) *dev.Etcd {
	t.Helper()
	etcd, err := dev.StartEtcd(deadline(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcd.Close() })
	return etcd
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
