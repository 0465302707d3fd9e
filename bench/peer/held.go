package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	pb "google.golang.org/grpc/interop/grpc_testing"
)

// Fleet is what a Client has that finds many instances.
type Fleet interface {
	// WaitReady waits until n instances can be picked, or, with 0, until all
	// can that will be connected.
	WaitReady(ctx context.Context, n int) error

	// Picker is what grpc asks for each call now.
	Picker() grpcbalancer.Picker

	// Change changes what is said of one instance, as number n. It does nothing
	// in a client that a registry tells.
	Change(n int)
}

// ServerAddress is where to listen: with many instances, on every address of
// loopback, for each is to have its own.
func (c Config) ServerAddress() string {
	if c.Instances > 0 {
		return "0.0.0.0:0"
	}
	return "127.0.0.1:0"
}

// Reached returns the address under which a listener's is dialed.
func Reached(lis net.Addr) string {
	if tcp, ok := lis.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return lis.String()
}

// Aliases returns n further addresses of a server on every address of loopback.
// A client has a connection to each, as if they were as many servers. Only Linux
// has all of them by itself.
func Aliases(addr string, n int) ([]string, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	out := make([]string, n)
	for i := range out {
		out[i] = net.JoinHostPort(fmt.Sprintf("127.1.%d.%d", i>>8, i&255), port)
	}
	return out, nil
}

// holder keeps streams open until the process ends.
type holder struct {
	mu      sync.Mutex // guards streams
	streams []Stream
}

// open opens its share of the streams, each with one message to and fro, so
// that both sides have it, and leaves them idle.
func (c calls) open(_ context.Context, r *runner, caller int) error {
	req := &pb.SimpleRequest{Payload: &pb.Payload{Body: r.payload()}}
	for i := caller; i < c.Count; i += c.Callers {
		began := time.Now()
		stream, err := c.client.Stream(context.Background()) // it outlives the job
		if err != nil {
			return err
		}
		if err := stream.Send(req); err != nil {
			return err
		}
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := c.check(resp); err != nil {
			return err
		}
		r.times.add(caller, time.Since(began))
		r.calls.Add(1)
		c.held.mu.Lock()
		c.held.streams = append(c.held.streams, stream)
		c.held.mu.Unlock()
	}
	return nil
}

var errNoFleet = errors.New("this peer has no fleet of instances")

// ready waits until all instances are ready, which the first such job begins to
// connect.
func (c calls) ready(ctx context.Context, r *runner, _ int) error {
	f, ok := c.client.(Fleet)
	if !ok {
		return errNoFleet
	}
	r.calls.Add(1)
	return f.WaitReady(ctx, c.Count)
}

// pick asks the picker, as grpc does for each call.
func (c calls) pick(ctx context.Context, r *runner, _ int) error {
	f, ok := c.client.(Fleet)
	if !ok {
		return errNoFleet
	}
	p, info := f.Picker(), grpcbalancer.PickInfo{Ctx: ctx, FullMethodName: pb.BenchmarkService_UnaryCall_FullMethodName}
	for range c.Count {
		result, err := p.Pick(info)
		if err != nil {
			return err
		}
		if result.Done != nil {
			result.Done(grpcbalancer.DoneInfo{})
		}
	}
	r.calls.Add(int64(c.Count))
	return nil
}

// change changes one instance after the other, Count times within Duration, while
// the other callers call.
func (c calls) change(ctx context.Context, r *runner, caller int) error {
	if caller > 0 {
		return c.unary(ctx, r, caller)
	}
	f, ok := c.client.(Fleet)
	if !ok {
		return errNoFleet
	}
	for i := range c.Count + 1 { // at the last the job ends, and the last change is over
		select {
		case <-time.After(time.Until(r.start.Add(c.Duration * time.Duration(i) / time.Duration(c.Count)))):
		case <-ctx.Done():
			return nil
		}
		if i < c.Count {
			f.Change(i)
		}
	}
	return nil
}
