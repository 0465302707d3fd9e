package rpcmetrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	provider "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/recovery"
	"github.com/grpc-micro/micro/interceptors/rpcmetrics"
	"github.com/grpc-micro/micro/internal/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func server(m *rpcmetrics.Server) []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(m.UnaryServerInterceptor()), grpc.ChainStreamInterceptor(m.StreamServerInterceptor())}
}

func client(m *rpcmetrics.Client) []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(m.UnaryClientInterceptor()), grpc.WithChainStreamInterceptor(m.StreamClientInterceptor())}
}

// gathered returns what a scrape sees: name and labels, and the value or, of a
// histogram, the number of observations.
func gathered(t *testing.T, cs ...prometheus.Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(cs...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, strings.TrimPrefix(l.GetName(), "grpc_")+"="+strings.TrimPrefix(l.GetValue(), rpctest.Service))
			}
			value := m.GetCounter().GetValue()
			if h := m.GetHistogram(); h != nil {
				value = float64(h.GetSampleCount())
			}
			out[f.GetName()+" "+strings.Join(labels, " ")] = value
		}
	}
	return out
}

// The provider that lends its names is asked, too, with the same calls. Only the
// numbers of messages may differ: it counts a stream's end as one.
func TestAsProvider(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.OK, codes.NotFound} {
		theirsServer := provider.NewServerMetrics(provider.WithServerHandlingTimeHistogram())
		theirsClient := provider.NewClientMetrics(provider.WithClientHandlingTimeHistogram())
		oursServer, oursClient := rpcmetrics.NewServer(), rpcmetrics.NewClient()
		c, stop := rpctest.Serve(func(context.Context) error { return status.Error(code, "") },
			append(server(oursServer), grpc.ChainUnaryInterceptor(theirsServer.UnaryServerInterceptor()), grpc.ChainStreamInterceptor(theirsServer.StreamServerInterceptor())),
			append(client(oursClient), grpc.WithChainUnaryInterceptor(theirsClient.UnaryClientInterceptor()), grpc.WithChainStreamInterceptor(theirsClient.StreamClientInterceptor())))
		for _, kind := range rpctest.Kinds() {
			if err := kind.Call(t.Context(), c); status.Code(err) != code {
				t.Fatalf("%s: %v", kind.Name, err)
			}
		}
		stop() // handlers have ended
		ours, theirs := gathered(t, oursServer, oursClient), gathered(t, theirsServer, theirsClient)
		for name, value := range theirs {
			if got, ok := ours[name]; !ok || got != value && !strings.Contains(name, "_msg_") {
				t.Errorf("%v: %s is %v, want %v", code, name, got, value)
			}
		}
		for name, value := range ours {
			if _, ok := theirs[name]; !ok && value != 0 {
				t.Errorf("%v: %s is not one of the provider's", code, name)
			}
		}
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	s, c := rpcmetrics.NewServer(), rpcmetrics.NewClient()
	stub, stop := rpctest.Serve(func(context.Context) error { return nil }, server(s), client(c))
	for _, kind := range rpctest.Kinds() {
		if err := kind.Call(t.Context(), stub); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	got := gathered(t, s, c)
	for method, want := range map[string]struct{ requests, answers float64 }{
		"method=UnaryCall service= type=unary":                   {1, 1},
		"method=StreamingInputCall service= type=client_stream":  {2, 1},
		"method=StreamingOutputCall service= type=server_stream": {1, 2},
		"method=FullDuplexCall service= type=bidi_stream":        {2, 2},
	} {
		for name, want := range map[string]float64{
			"grpc_client_msg_sent_total ": want.requests, "grpc_server_msg_received_total ": want.requests,
			"grpc_server_msg_sent_total ": want.answers, "grpc_client_msg_received_total ": want.answers,
		} {
			if got[name+method] != want {
				t.Errorf("%s%s = %v, want %v", name, method, got[name+method], want)
			}
		}
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want codes.Code
	}{
		{errors.New("plain"), codes.Unknown},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{status.Error(codes.Unauthenticated, ""), codes.Unauthenticated},
		{status.Error(99, "a code of its own"), codes.Unknown},
	} {
		s := rpcmetrics.NewServer()
		stub, stop := rpctest.Serve(func(context.Context) error { return test.err }, server(s), nil)
		for _, kind := range rpctest.Kinds() {
			_ = kind.Call(t.Context(), stub)
		}
		stop()
		handled := maps.Collect(func(yield func(string, float64) bool) {
			for name, n := range gathered(t, s) {
				if strings.HasPrefix(name, "grpc_server_handled_total") && !yield(name, n) {
					return
				}
			}
		})
		if len(handled) != len(rpctest.Kinds()) {
			t.Errorf("%v: %v", test.err, handled)
		}
		for name, n := range handled {
			if !strings.Contains(name, "code="+test.want.String()) || n != 1 {
				t.Errorf("%v: %s %v", test.err, name, n)
			}
		}
	}
}

// Outside of recovery a panic is a call that ended, too.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := rpcmetrics.NewServer()
	logger, _ := rpctest.Log(0)
	stub, stop := rpctest.Serve(func(context.Context) error { panic("boom") },
		append(server(s), grpc.ChainUnaryInterceptor(recovery.UnaryServerInterceptor(logger))), nil)
	_, _ = stub.UnaryCall(t.Context(), &testpb.SimpleRequest{})
	stop()
	if n := gathered(t, s)["grpc_server_handled_total code=Internal method=UnaryCall service= type=unary"]; n != 1 {
		t.Errorf("%v calls ended as Internal", n)
	}
}

// A stream that is left before its end has ended as well.
func TestStreamThatIsLeft(t *testing.T) {
	t.Parallel()
	c := rpcmetrics.NewClient()
	stub, stop := rpctest.Serve(func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}, nil, client(c))
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := stub.FullDuplexCall(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	wait.Until(t, "the end of the stream", func() bool {
		return gathered(t, c)["grpc_client_handled_total code=Canceled method=FullDuplexCall service= type=bidi_stream"] == 1
	})
}

// A client may make up as many methods as it likes.
func TestUnknownService(t *testing.T) {
	t.Parallel()
	s := rpcmetrics.NewServer()
	conn, stop := rpctest.Conn(nil, append(server(s), grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return nil })), nil)
	for i := range 5 {
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, fmt.Sprintf("/made.Up/Method%d", i))
		if err == nil {
			err = stream.RecvMsg(&testpb.Empty{})
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	stop()
	if n := gathered(t, s)["grpc_server_handled_total code=OK method=unknown service=unknown type=bidi_stream"]; n != 5 {
		t.Errorf("%v calls", n)
	}
	if n := testutil.CollectAndCount(s, "grpc_server_started_total"); n != 1 {
		t.Errorf("%d methods", n)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	s := rpcmetrics.NewServer()
	srv := grpc.NewServer()
	testpb.RegisterTestServiceServer(srv, testpb.UnimplementedTestServiceServer{})
	s.Show(srv)
	got := gathered(t, s)
	for _, name := range []string{
		"grpc_server_started_total method=FullDuplexCall service= type=bidi_stream",
		"grpc_server_handled_total code=Unavailable method=UnaryCall service= type=unary",
		"grpc_server_handling_seconds method=StreamingInputCall service= type=client_stream",
	} {
		if n, ok := got[name]; !ok || n != 0 {
			t.Errorf("%s is %v, %v, want 0", name, n, ok)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	type key struct{}
	s := rpcmetrics.NewServer(nil,
		rpcmetrics.WithHistogram(func(o *prometheus.HistogramOpts) { o.Buckets = []float64{1, 2} }),
		rpcmetrics.WithExemplars(func(ctx context.Context) prometheus.Labels {
			if id, ok := ctx.Value(key{}).(string); ok {
				return prometheus.Labels{"trace_id": id}
			}
			return nil
		}))
	serve := s.UnaryServerInterceptor()
	handler := func(context.Context, any) (any, error) { return nil, nil }
	for _, ctx := range []context.Context{t.Context(), context.WithValue(t.Context(), key{}, "abc")} {
		if _, err := serve(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, handler); err != nil {
			t.Fatal(err)
		}
	}
	h := histogram(t, s)
	if n := len(h.GetBucket()); n != 2 || h.GetSampleCount() != 2 {
		t.Errorf("%d buckets, %d durations", n, h.GetSampleCount())
	}
	if got := h.GetBucket()[0].GetExemplar().GetLabel(); len(got) != 1 || got[0].GetValue() != "abc" {
		t.Errorf("exemplar %v", got)
	}
}

// histogram returns the only one there is.
func histogram(t *testing.T, c prometheus.Collector) *dto.Histogram {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if h := f.GetMetric()[0].GetHistogram(); h != nil {
			return h
		}
	}
	t.Fatal("there is no histogram")
	return nil
}

func TestDurations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := rpcmetrics.NewClient()
		const took = 20 * time.Millisecond
		err := c.UnaryClientInterceptor()(t.Context(), "/a.B/C", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			time.Sleep(took) // of synctest's clock
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if sum := histogram(t, c).GetSampleSum(); sum != took.Seconds() {
			t.Errorf("%v s, and it took %v", sum, took)
		}
	})
}

func TestLint(t *testing.T) {
	t.Parallel()
	s, c := rpcmetrics.NewServer(), rpcmetrics.NewClient()
	stub, stop := rpctest.Serve(func(context.Context) error { return nil }, server(s), client(c))
	defer stop()
	if _, err := stub.UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, of := range []prometheus.Collector{s, c} {
		if problems, err := testutil.CollectAndLint(of); err != nil || len(problems) != 0 {
			t.Error(problems, err)
		}
	}
}

func TestNoAllocation(t *testing.T) { // alone, because it counts
	serve, call := rpcmetrics.NewServer().UnaryServerInterceptor(), rpcmetrics.NewClient().UnaryClientInterceptor()
	info := &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}
	handler := func(context.Context, any) (any, error) { return nil, nil }
	invoker := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	for side, call := range map[string]func(){
		"server": func() { _, _ = serve(t.Context(), nil, info, handler) },
		"client": func() { _ = call(t.Context(), "/a.B/C", nil, nil, nil, invoker) },
	} {
		if n := testing.AllocsPerRun(100, call); n != 0 {
			t.Errorf("%s: %v allocations", side, n)
		}
	}
}

// The interceptor alone, beside the provider's.
func BenchmarkInterceptor(b *testing.B) {
	info := &grpc.UnaryServerInfo{FullMethod: "/grpc.testing.TestService/UnaryCall"}
	handler := func(context.Context, any) (any, error) { return nil, nil }
	for _, by := range []struct {
		name      string
		intercept grpc.UnaryServerInterceptor
	}{
		{"this", rpcmetrics.NewServer().UnaryServerInterceptor()},
		{"provider", provider.NewServerMetrics(provider.WithServerHandlingTimeHistogram()).UnaryServerInterceptor()},
	} {
		b.Run(by.name, func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = by.intercept(ctx, nil, info, handler)
				}
			})
		})
	}
}

func BenchmarkCall(b *testing.B) {
	rpctest.Benchmark(b, server(rpcmetrics.NewServer()), client(rpcmetrics.NewClient()))
}
