//go:build !race

package tracing_test

import (
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/interceptors/tracing"
)

// Not with the race detector, for which sync.Pool drops some of what it is given.
func TestAllocations(t *testing.T) {
	provider, _ := recorder(sdktrace.NeverSample())
	nothing := options(provider, tracing.WithFilter(func(string) bool { return false }))
	info, in := &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, incoming(t.Context())
	for _, test := range []struct {
		name           string
		opts           []tracing.Option
		server, client float64
	}{
		// The span and its context; and the caller's, with the header it came in, or
		// the header to send, which grpc's metadata takes four for.
		{"unsampled", options(provider), 5, 7},
		{"not wanted", nothing, 0, 0},
	} {
		serve, call := tracing.UnaryServerInterceptor(test.opts...), tracing.UnaryClientInterceptor(test.opts...)
		if n := testing.AllocsPerRun(1000, func() { _, _ = serve(in, nil, info, handle) }); n > test.server {
			t.Errorf("%s: %v allocations on a server, want %v", test.name, n, test.server)
		}
		if n := testing.AllocsPerRun(1000, func() { _ = call(t.Context(), "/a.B/C", nil, nil, nil, invoke) }); n > test.client {
			t.Errorf("%s: %v allocations in a client, want %v", test.name, n, test.client)
		}
	}
}
