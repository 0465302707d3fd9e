package pubsubtest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/grpc-micro/micro/pubsub"
)

// Many publishers and many handlers at once: each key stays in order, and has
// one handler at a time.
func keyOrder(s *suite) {
	const keys, each = 20, 50
	var busy [keys]atomic.Bool
	var twice atomic.Int32
	r := newRecord()
	sub := s.subscribe(s.group, func(_ context.Context, d *pubsub.Delivery) error {
		var key int
		_, _ = fmt.Sscan(string(d.Key), &key)
		if !busy[key].CompareAndSwap(false, true) {
			twice.Add(1)
		}
		r.add(d)
		busy[key].Store(false)
		return nil
	})
	var publishers sync.WaitGroup
	for key := range keys {
		publishers.Go(func() {
			for i := range each {
				if err := s.b.Publish(s.ctx, s.message(fmt.Sprint(key), fmt.Sprint(i))); err != nil {
					s.Errorf("Publish: %v", err)
					return
				}
			}
		})
	}
	publishers.Wait()
	got := s.await(r, keys*each)
	sub.stop()
	if len(got) != keys*each {
		s.Errorf("%d messages were delivered %d times", keys*each, len(got))
	}
	s.inOrder(got)
	if n := twice.Load(); n > 0 {
		s.Errorf("a key had two handlers at once, %d times", n)
	}
}

// meeting is a Handler that returns when n of them are running.
func meeting(n int) pubsub.Handler {
	var here atomic.Int32
	all := make(chan struct{})
	return func(ctx context.Context, _ *pubsub.Delivery) error {
		if int(here.Add(1)) == n {
			close(all)
		}
		select {
		case <-all:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Messages of several keys are handled at once, whatever their partitions.
func keysAtOnce(s *suite) {
	for i := range 8 {
		s.publish(s.message(fmt.Sprint("k", i), "v"))
	}
	sub := s.subscribe(s.group, meeting(8), pubsub.WithConcurrency(8), pubsub.WithLimit(8))
	if err := sub.wait(); err != nil {
		s.Error(err)
	}
}

func keylessAtOnce(s *suite) {
	for range 8 {
		s.publish(s.message("", "v"))
	}
	sub := s.subscribe(s.group, meeting(8), pubsub.WithConcurrency(8), pubsub.WithLimit(8))
	if err := sub.wait(); err != nil {
		s.Error(err)
	}
}

// WithConcurrency holds over all partitions.
func concurrency(s *suite) {
	for i := range 200 {
		s.publish(s.message(fmt.Sprint("k", i), "v"))
	}
	var running, most atomic.Int32
	sub := s.subscribe(s.group, func(context.Context, *pubsub.Delivery) error {
		n := running.Add(1)
		for {
			if seen := most.Load(); n <= seen || most.CompareAndSwap(seen, n) {
				break
			}
		}
		for range 100 { // give others the chance to be one too many
			runtime.Gosched()
		}
		running.Add(-1)
		return nil
	}, pubsub.WithConcurrency(3), pubsub.WithLimit(200))
	if err := sub.wait(); err != nil {
		s.Error(err)
	}
	if n := most.Load(); n > 3 {
		s.Errorf("%d handlers ran at once, want 3 at most", n)
	}
}
