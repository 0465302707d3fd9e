package rpcmetrics_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/interceptors"
	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/rpcmetrics"
)

func Example() {
	m := rpcmetrics.NewServer()
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	server := interceptors.Server( // for grpc.NewServer or micro.WithServerOptions
		interceptors.WithServer(m.UnaryServerInterceptor(), m.StreamServerInterceptor()),
		interceptors.WithLogger(slog.New(slog.DiscardHandler)))

	c, stop := rpctest.Serve(func(context.Context) error { panic("a bug") }, server, nil)
	_, err := c.UnaryCall(context.Background(), &testpb.SimpleRequest{})
	fmt.Println("failed:", err != nil)
	stop()

	text, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, "grpc_server_handled_total")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(text))
	// Output:
	// failed: true
	// # HELP grpc_server_handled_total RPCs completed, whether they succeeded or not, on the server.
	// # TYPE grpc_server_handled_total counter
	// grpc_server_handled_total{grpc_code="Internal",grpc_method="UnaryCall",grpc_service="grpc.testing.TestService",grpc_type="unary"} 1
}
