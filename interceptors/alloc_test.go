//go:build !race

package interceptors_test

import (
	"context"
	"log/slog"
	"math"
	"runtime"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/interceptors"
	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/rpcmetrics"
)

// The whole chain, with metrics, makes two objects a unary call: what generated
// code does on a server for any interceptor. Not with the race detector, for which
// sync.Pool drops some of what it is given.
func TestAllocations(t *testing.T) {
	logger := interceptors.WithLogger(slog.New(slog.DiscardHandler))
	s, c := rpcmetrics.NewServer(), rpcmetrics.NewClient()
	metrics := []interceptors.Option{
		logger,
		interceptors.WithServer(s.UnaryServerInterceptor(), s.StreamServerInterceptor()),
		interceptors.WithClient(c.UnaryClientInterceptor(), c.StreamClientInterceptor()),
	}
	bare := allocations(t, nil, nil)
	for name, opts := range map[string][]interceptors.Option{"chain": {logger}, "chain and metrics": metrics} {
		// A half is for what grpc does now and then.
		if n := allocations(t, interceptors.Server(opts...), interceptors.Client(opts...)); n > bare+2.5 {
			t.Errorf("%s: %.1f allocations a call, and %.1f without", name, n, bare)
		}
	}
}

// allocations returns how many a whole call makes, on both sides, in the best of
// several runs: timers and the network make some, too.
func allocations(t *testing.T, server []grpc.ServerOption, client []grpc.DialOption) float64 {
	t.Helper()
	stub, stop := rpctest.Serve(func(context.Context) error { return nil }, server, client)
	defer stop()
	req := new(testpb.SimpleRequest)
	const calls = 1000
	least := uint64(math.MaxUint64)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			if _, err := stub.UnaryCall(t.Context(), req); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return float64(least) / calls
}
