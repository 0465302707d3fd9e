package peer

import (
	"context"
	"fmt"

	pb "google.golang.org/grpc/interop/grpc_testing"
)

// calls does the jobs of an RPC client.
type calls struct {
	*Job

	client Client
	held   *holder
}

func (c calls) job() func(context.Context, *runner, int) error {
	switch c.Kind {
	case StreamJob:
		return c.stream
	case OpenJob:
		return c.open
	case ReadyJob:
		return c.ready
	case PickJob:
		return c.pick
	case ChangeJob:
		return c.change
	default:
		return c.unary
	}
}

func (c calls) unary(ctx context.Context, r *runner, caller int) error {
	req := &pb.SimpleRequest{Payload: &pb.Payload{Body: r.payload()}}
	return r.loop(ctx, caller, func() error {
		ctx := ctx
		if c.Deadline > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.Deadline)
			defer cancel()
		}
		resp, err := c.client.Unary(ctx, req)
		if err != nil {
			return err
		}
		return c.check(resp)
	})
}

func (c calls) stream(ctx context.Context, r *runner, caller int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.client.Stream(ctx)
	if err != nil {
		return err
	}
	req := &pb.SimpleRequest{Payload: &pb.Payload{Body: r.payload()}}
	return r.loop(ctx, caller, func() error {
		if err := stream.Send(req); err != nil {
			_, err = stream.Recv() // has the reason
			return err
		}
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		return c.check(resp)
	})
}

func (c calls) check(resp *pb.SimpleResponse) error {
	if got := len(resp.GetPayload().GetBody()); got != c.Size {
		return fmt.Errorf("the echo of %d bytes has %d", c.Size, got)
	}
	return nil
}
