package chain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/interceptors/internal/chain"
)

// mark is an interceptor that leaves its name in the request and in the answer.
func mark(name string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		resp, err := handler(ctx, fmt.Sprint(req, ">", name, info.FullMethod))
		return fmt.Sprint(resp, "<", name), err
	}
}

func markClient(name string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, fmt.Sprint(req, ">", name), reply, cc, append(slices.Clip(opts), grpc.WaitForReady(true))...)
		*reply.(*string) += "<" + name
		return err
	}
}

var errHandler = errors.New("from the handler")

func TestOrder(t *testing.T) {
	t.Parallel()
	serve := chain.UnaryServer(mark("a"), mark("b"), mark("c"))
	resp, err := serve(t.Context(), "req", &grpc.UnaryServerInfo{FullMethod: "/m"}, func(_ context.Context, req any) (any, error) { return req, errHandler })
	if want := "req>a/m>b/m>c/m<c<b<a"; resp != want || !errors.Is(err, errHandler) {
		t.Errorf("server: %v, %v, want %v", resp, err, want)
	}

	call := chain.UnaryClient(markClient("a"), markClient("b"), markClient("c"))
	var reply string
	err = call(t.Context(), "/m", "req", &reply, nil, func(_ context.Context, method string, req, reply any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
		*reply.(*string) = fmt.Sprint(method, req, len(opts))
		return errHandler
	})
	if want := "/mreq>a>b>c3<c<b<a"; reply != want || !errors.Is(err, errHandler) {
		t.Errorf("client: %v, %v, want %v", reply, err, want)
	}
}

// Calls inside of calls, beside each other and after a panic keep their own
// handlers.
func TestCallsAreApart(t *testing.T) {
	t.Parallel()
	serve := chain.UnaryServer(mark("a"), mark("b"))
	for i := range 3 {
		func() {
			defer func() { _ = recover() }()
			_, _ = serve(t.Context(), i, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { panic("boom") })
			t.Error("no panic came through")
		}()
	}
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			outer, inner := &grpc.UnaryServerInfo{FullMethod: fmt.Sprint("/outer", i)}, &grpc.UnaryServerInfo{FullMethod: fmt.Sprint("/inner", i)}
			for range 100 {
				resp, _ := serve(t.Context(), "", outer, func(ctx context.Context, req any) (any, error) {
					return serve(ctx, req, inner, func(_ context.Context, req any) (any, error) { return req, nil })
				})
				if want := fmt.Sprintf(">a/outer%[1]d>b/outer%[1]d>a/inner%[1]d>b/inner%[1]d<b<a<b<a", i); resp != want {
					t.Errorf("%v, want %v", resp, want)
					return
				}
			}
		})
	}
	callers.Wait()
}

func passServer(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	return handler(ctx, req)
}

func passClient(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, opts...)
}

func handle(context.Context, any) (any, error) { return nil, nil }

func invoke(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}

func BenchmarkUnaryServer(b *testing.B) {
	serve := chain.UnaryServer(passServer, passServer, passServer)
	info := new(grpc.UnaryServerInfo)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = serve(b.Context(), nil, info, handle)
	}
}
