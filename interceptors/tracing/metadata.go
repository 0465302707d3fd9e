package tracing

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc/metadata"
)

// extract returns ctx with what the caller sent.
func (t *tracer) extract(ctx context.Context) context.Context {
	in := incomings.Get().(*incoming)
	in.ctx = ctx
	ctx = t.propagator.Extract(ctx, in)
	in.ctx = nil
	incomings.Put(in)
	return ctx
}

var incomings = sync.Pool{New: func() any { return new(incoming) }}

// incoming is the metadata of a call, looked at in place: what grpc returns of
// all of it is a copy.
type incoming struct{ ctx context.Context } //nolint:containedctx // it is what the context has

// Get implements propagation.TextMapCarrier.
func (in *incoming) Get(key string) string {
	if values := in.Values(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values implements propagation.ValuesGetter.
func (in *incoming) Values(key string) []string {
	return metadata.ValueFromIncomingContext(in.ctx, key)
}

// Keys implements propagation.TextMapCarrier.
func (in *incoming) Keys() []string {
	md, _ := metadata.FromIncomingContext(in.ctx)
	return keys(md)
}

// Set implements propagation.TextMapCarrier. Nothing is sent in what came in.
func (*incoming) Set(string, string) {}

// inject returns ctx with what the propagator sends.
func (t *tracer) inject(ctx context.Context) context.Context {
	out := outgoings.Get().(*outgoing)
	out.ctx = ctx
	t.propagator.Inject(ctx, out)
	ctx = out.added()
	out.ctx = nil
	clear(out.pairs)
	out.pairs = out.pairs[:0]
	outgoings.Put(out)
	return ctx
}

var outgoings = sync.Pool{New: func() any { return &outgoing{pairs: make([]string, 0, 8)} }}

// outgoing collects what is to go into the metadata of a call.
type outgoing struct {
	ctx   context.Context //nolint:containedctx // it is what the context has
	pairs []string        // key, value, key, value
}

// added returns the context with the pairs in it. They replace what is there
// under their keys, perhaps passed on from another call, for the other side
// takes the first value. Metadata that is there is copied, as grpc gives it only
// like that; in most calls there is none.
func (out *outgoing) added() context.Context {
	if len(out.pairs) == 0 {
		return out.ctx
	}
	md, ok := metadata.FromOutgoingContext(out.ctx)
	if !ok {
		return metadata.AppendToOutgoingContext(out.ctx, out.pairs...)
	}
	for pair := range slices.Chunk(out.pairs, 2) {
		md.Set(pair[0], pair[1])
	}
	return metadata.NewOutgoingContext(out.ctx, md)
}

// Set implements propagation.TextMapCarrier.
func (out *outgoing) Set(key, value string) { out.pairs = append(out.pairs, key, value) }

// Get implements propagation.TextMapCarrier.
func (out *outgoing) Get(key string) string {
	for pair := range slices.Chunk(out.pairs, 2) {
		if pair[0] == key {
			return pair[1]
		}
	}
	md, _ := metadata.FromOutgoingContext(out.ctx)
	if values := md.Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Keys implements propagation.TextMapCarrier.
func (out *outgoing) Keys() []string {
	md, _ := metadata.FromOutgoingContext(out.ctx)
	found := keys(md)
	for pair := range slices.Chunk(out.pairs, 2) {
		found = append(found, pair[0])
	}
	return found
}

func keys(md metadata.MD) []string {
	found := make([]string, 0, len(md))
	for key := range md {
		found = append(found, key)
	}
	return found
}
