// Connect is connect-go over HTTP/2 without TLS, with gRPC's protocol.
package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
	pb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/grpc-micro/micro/bench/peer"
)

func main() { peer.Peer{Serve: serve, Dial: dial}.Main() }

func serve(ctx context.Context, _ peer.Config, echo peer.Echo, ready func(string)) error {
	lis, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(pb.BenchmarkService_UnaryCall_FullMethodName, connect.NewUnaryHandler(pb.BenchmarkService_UnaryCall_FullMethodName,
		func(ctx context.Context, req *connect.Request[pb.SimpleRequest]) (*connect.Response[pb.SimpleResponse], error) {
			resp, err := echo.UnaryCall(ctx, req.Msg)
			return connect.NewResponse(resp), err
		}))
	mux.Handle(pb.BenchmarkService_StreamingCall_FullMethodName, connect.NewBidiStreamHandler(pb.BenchmarkService_StreamingCall_FullMethodName,
		func(_ context.Context, stream *connect.BidiStream[pb.SimpleRequest, pb.SimpleResponse]) error {
			for {
				req, err := stream.Receive()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if err := stream.Send(&pb.SimpleResponse{Payload: req.GetPayload()}); err != nil {
					return err
				}
			}
		}))
	srv := &http.Server{Handler: mux, Protocols: plainHTTP2(), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	ready(lis.Addr().String())
	return srv.Serve(lis)
}

func plainHTTP2() *http.Protocols {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &p
}

func dial(_ context.Context, c peer.Config) (peer.Client, error) {
	client := &http.Client{Transport: &http.Transport{Protocols: plainHTTP2()}}
	base := "http://" + c.Addrs[0]
	return stub{
		connect.NewClient[pb.SimpleRequest, pb.SimpleResponse](client, base+pb.BenchmarkService_UnaryCall_FullMethodName, connect.WithGRPC()),
		connect.NewClient[pb.SimpleRequest, pb.SimpleResponse](client, base+pb.BenchmarkService_StreamingCall_FullMethodName, connect.WithGRPC()),
	}, nil
}

type stub struct {
	unary, stream *connect.Client[pb.SimpleRequest, pb.SimpleResponse]
}

func (s stub) Unary(ctx context.Context, req *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	resp, err := s.unary.CallUnary(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	return resp.Msg, nil
}

func (s stub) Stream(ctx context.Context) (peer.Stream, error) {
	return stream{s.stream.CallBidiStream(ctx)}, nil
}

type stream struct {
	*connect.BidiStreamForClient[pb.SimpleRequest, pb.SimpleResponse]
}

func (s stream) Recv() (*pb.SimpleResponse, error) { return s.Receive() }
