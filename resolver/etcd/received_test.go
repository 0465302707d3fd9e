package etcd_test

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/resolver/etcd"
)

// A watch ends with its context even if etcd's client never closes it: Close
// waits for those who read it.
func TestWatchThatIsStuckEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		closed bool
		stop   int // cancel at the so-manieth response
		want   int
	}{
		"the context ends": {false, 2, 2},
		"it closes":        {true, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			watch := make(chan clientv3.WatchResponse, 2)
			watch <- clientv3.WatchResponse{}
			watch <- clientv3.WatchResponse{}
			if test.closed {
				close(watch)
			}
			n := 0
			for range etcd.Received(ctx, watch) {
				if n++; n == test.stop {
					cancel()
				}
			}
			if n != test.want {
				t.Errorf("%d responses, want %d", n, test.want)
			}
		})
	}
}
