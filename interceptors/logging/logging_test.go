package logging_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro/interceptors/internal/rpctest"
	"github.com/grpc-micro/micro/interceptors/logging"
)

func TestFailuresOnly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err                    error
		code                   codes.Code
		serverLevel, nearLevel string
	}{
		"internal":              {status.Error(codes.Internal, "disk full"), codes.Internal, "ERROR", "WARN"},
		"plain error":           {errors.New("broken"), codes.Unknown, "ERROR", "WARN"},
		"wrapped status":        {fmt.Errorf("find: %w", status.Error(codes.NotFound, "nobody")), codes.NotFound, "INFO", "INFO"},
		"bad argument":          {status.Error(codes.InvalidArgument, "no name"), codes.InvalidArgument, "INFO", "INFO"},
		"the context's error":   {context.Canceled, codes.Canceled, "DEBUG", "DEBUG"},
		"the context's timeout": {context.DeadlineExceeded, codes.DeadlineExceeded, "ERROR", "WARN"},
	} {
		for _, kind := range rpctest.Kinds() {
			t.Run(name+"/"+kind.Name, func(t *testing.T) {
				t.Parallel()
				far, farLines := rpctest.Log(slog.LevelDebug)
				near, nearLines := rpctest.Log(slog.LevelDebug)
				fail := false
				handle := func(context.Context) error {
					if fail {
						return test.err
					}
					return nil
				}
				c, stop := rpctest.Serve(handle, server(far), client(near, logging.WithPeer()))
				defer stop()
				if err := kind.Call(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if len(farLines)+len(nearLines) > 0 {
					t.Fatalf("a call that succeeded was logged")
				}
				fail = true
				if err := kind.Call(t.Context(), c); status.Code(err) != test.code {
					t.Fatalf("the call: %v, want %v", err, test.code)
				}
				common := rpctest.Line{
					"msg": "grpc: call failed", "grpc.service": rpctest.Service, "grpc.method": kind.Method,
					"grpc.code": test.code.String(), "peer": "bufconn",
				}
				check(t, farLines, with(common, "grpc.component", "server", "level", test.serverLevel, "error", test.err.Error()))
				check(t, nearLines, with(common, "grpc.component", "client", "level", test.nearLevel, "target", "passthrough:///memory"))
			})
		}
	}
}

func with(line rpctest.Line, more ...string) rpctest.Line {
	all := maps.Clone(line)
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

func TestWithSuccesses(t *testing.T) {
	t.Parallel()
	for _, kind := range rpctest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			logger, lines := rpctest.Log(slog.LevelInfo)
			asked := make(chan string, 1)
			of := func(method string) bool {
				asked <- method
				return true
			}
			c, stop := rpctest.Serve(succeed,
				server(logger, logging.WithSuccesses(of)),
				client(logger, logging.WithSuccesses(func(string) bool { return false })))
			defer stop()
			if err := kind.Call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got, want := <-asked, "/"+rpctest.Service+"/"+kind.Method; got != want {
				t.Errorf("asked for %q, want %q", got, want)
			}
			check(t, lines, rpctest.Line{
				"msg": "grpc: call done", "level": "INFO", "grpc.component": "server",
				"grpc.method": kind.Method, "grpc.code": "OK", "peer": "bufconn", "error": nil,
			})
		})
	}
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		logger, lines := rpctest.Log(slog.LevelInfo)
		c, stop := rpctest.Serve(succeed, nil, client(logger, logging.WithSuccesses(nil)))
		defer stop()
		for _, kind := range rpctest.Kinds() {
			if err := kind.Call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			check(t, lines, rpctest.Line{"grpc.component": "client", "grpc.method": kind.Method, "grpc.code": "OK"})
		}
	})
}

func TestWithLevels(t *testing.T) {
	t.Parallel()
	logger, lines := rpctest.Log(slog.LevelWarn)
	levels := func(code codes.Code) slog.Level {
		if code == codes.NotFound {
			return slog.LevelInfo
		}
		return slog.LevelWarn
	}
	failures := make(chan error, 2)
	c, stop := rpctest.Serve(func(context.Context) error { return <-failures }, server(logger, logging.WithLevels(levels)), nil)
	defer stop()
	for _, code := range []codes.Code{codes.NotFound, codes.Aborted} {
		failures <- status.Error(code, "no")
		if err := rpctest.Kinds()[0].Call(t.Context(), c); status.Code(err) != code {
			t.Fatal(err)
		}
	}
	check(t, lines, rpctest.Line{"grpc.code": "Aborted", "level": "WARN"}) // and none of the NotFound below the logger's level
}

// The nil of anything is the default of it, not a panic in the first call.
func TestNil(t *testing.T) {
	t.Parallel()
	c, stop := rpctest.Serve(succeed, server(nil, nil), client(nil, logging.WithLevels(nil), nil))
	defer stop()
	for _, kind := range rpctest.Kinds() {
		if err := kind.Call(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
}

// What is not logged must cost nothing: whether for success or for its level.
func TestNoAllocation(t *testing.T) {
	logger := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError})) //nolint:sloglint // it has to have a level
	ctx := t.Context()
	failure := status.Error(codes.NotFound, "nobody")
	for name, err := range map[string]error{"success": nil, "below the level": failure} {
		unaryHandler := func(context.Context, any) (any, error) { return nil, err }
		invoker := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return err }
		streamHandler := func(any, grpc.ServerStream) error { return err }
		conn, stop := rpctest.Conn(succeed, nil, nil)
		defer stop()
		unary, stream, outgoing := logging.UnaryServerInterceptor(logger), logging.StreamServerInterceptor(logger), logging.UnaryClientInterceptor(logger)
		ss := grpc.ServerStream(fakeStream{ctx: ctx})
		unaryInfo, streamInfo := &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, &grpc.StreamServerInfo{FullMethod: "/a.B/C"}
		for kind, call := range map[string]func(){
			"unary server":  func() { _, _ = unary(ctx, nil, unaryInfo, unaryHandler) },
			"stream server": func() { _ = stream(nil, ss, streamInfo, streamHandler) },
			"unary client":  func() { _ = outgoing(ctx, "/a.B/C", nil, nil, conn, invoker) },
		} {
			if n := testing.AllocsPerRun(100, call); n != 0 {
				t.Errorf("%s, %s: %v allocations", kind, name, n)
			}
		}
	}
}

type fakeStream struct {
	grpc.ServerStream

	ctx context.Context
}

func (s fakeStream) Context() context.Context { return s.ctx }
