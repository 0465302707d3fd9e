package micro

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
)

// calls knows what is in flight: a counter a method, so that a stop that waited
// in vain can name the handler, and the open streams, so that their contexts
// can be ended before the connections are.
type calls struct {
	stopping chan struct{}
	methods  map[string]*atomic.Int64 // filled by serve, read-only after
	other    atomic.Int64             // calls that grpc.UnknownServiceHandler takes
	streams  sync.Map                 // *serverStream → nil; sharded, not one lock for all
}

// serve is called once the services are complete and before the first call.
func (c *calls) serve(info map[string]grpc.ServiceInfo) {
	c.methods = make(map[string]*atomic.Int64)
	for service, s := range info {
		for _, m := range s.Methods {
			c.methods["/"+service+"/"+m.Name] = new(atomic.Int64)
		}
	}
}

func (c *calls) counter(method string) *atomic.Int64 {
	if n := c.methods[method]; n != nil {
		return n
	}
	return &c.other
}

func (c *calls) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	n := c.counter(info.FullMethod)
	n.Add(1)
	defer n.Add(-1)
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	s := &serverStream{ServerStream: ss, ctx: streamContext{ctx, c.stopping}, cancel: cancel}
	c.streams.Store(s, nil)
	defer c.streams.Delete(s)
	return handler(srv, s)
}

// endStreams cancels the context of every open stream.
func (c *calls) endStreams() {
	c.streams.Range(func(s, _ any) bool {
		s.(*serverStream).cancel()
		return true
	})
}

// inFlight says which methods have calls that did not end: "2 of /a.B/C".
func (c *calls) inFlight() string {
	var busy []string
	for _, method := range slices.Sorted(maps.Keys(c.methods)) {
		if n := c.methods[method].Load(); n > 0 {
			busy = append(busy, fmt.Sprintf("%d of %s", n, method))
		}
	}
	if n := c.other.Load(); n > 0 {
		busy = append(busy, fmt.Sprintf("%d of unknown services", n))
	}
	return strings.Join(busy, ", ")
}

type serverStream struct {
	grpc.ServerStream

	ctx    streamContext
	cancel context.CancelFunc
}

func (s *serverStream) Context() context.Context { return &s.ctx }

// streamContext answers Stopping without a context of its own kind in between.
type streamContext struct {
	context.Context

	stopping chan struct{}
}

func (c *streamContext) Value(key any) any {
	if key == (stoppingKey{}) {
		return c.stopping
	}
	return c.Context.Value(key)
}
