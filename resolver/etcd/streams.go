package etcd

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"
)

// streams chooses the stream on which a watch goes. One is enough for all of
// them, until a user has to log in: etcd then judges each new watch by the token
// with which its stream was opened, and once that has expired refuses every new
// one, for as long as the old ones keep the stream open. Its client opens another
// stream, with another token, for a watch whose context has other metadata.
type streams struct{ generation atomic.Int64 }

// on returns a context whose watch goes on the latest stream.
func (s *streams) on(ctx context.Context) (context.Context, int64) {
	generation := s.generation.Load()
	if generation == 0 {
		return ctx, generation
	}
	return metadata.AppendToOutgoingContext(ctx, "micro-watch-stream", strconv.FormatInt(generation, 10)), generation
}

// renew makes the next watches go on a new stream, if err says that the one of
// this generation takes no more. It reports whether it does say so.
func (s *streams) renew(generation int64, err error) bool {
	if !slices.ContainsFunc(refusals, func(text string) bool { return strings.Contains(err.Error(), text) }) {
		return false
	}
	s.generation.CompareAndSwap(generation, generation+1) // or another watch has done it
	return true
}

// refusals are what etcd says to a token that it does not know, or no longer. The
// errors of a watch have a text alone.
var refusals = []string{
	rpctypes.ErrorDesc(rpctypes.ErrGRPCInvalidAuthToken),
	rpctypes.ErrorDesc(rpctypes.ErrGRPCAuthOldRevision),
	rpctypes.ErrorDesc(rpctypes.ErrGRPCUserEmpty),
}
