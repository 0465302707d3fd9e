package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/grpc-micro/micro/internal/lanes"
	"github.com/grpc-micro/micro/pubsub"
)

// broadcast reads all partitions, without a group, until ctx ends.
func (s *subscription) broadcast(ctx context.Context) error {
	n, err := s.found(ctx)
	if err != nil {
		return err
	}
	var readers []*reader
	var fetching sync.WaitGroup
	read := func(n int, start pubsub.Start) error {
		var partitions []int
		for p := len(readers); p < n; p++ {
			partitions = append(partitions, p)
		}
		offsets, err := s.offsets(ctx, partitions, start)
		if err != nil {
			return err
		}
		for _, p := range partitions {
			r := newReader(s, p, lanes.Position{Next: offsets[p]})
			readers = append(readers, r)
			fetching.Go(func() { r.run(ctx) })
		}
		s.report(slices.Clone(readers))
		return nil
	}
	begin := time.Now()
	for try := 0; ; try++ {
		if err = read(n, s.sub.Start); err == nil {
			break
		}
		if time.Since(begin) > s.b.connect || hopeless(err) {
			return fmt.Errorf("kafka: subscribe %s: %w", s.sub.Topic, s.b.unreachable(err))
		}
		if !pause(ctx, try) {
			return nil
		}
	}
	s.sub.Ready()

	grow := time.NewTicker(s.b.growPause)
	defer grow.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-grow.C:
			if n, err := s.b.lookup(ctx, s.sub.Topic); err == nil && n > len(readers) {
				_ = read(n, pubsub.First) // else the next time
			}
		}
	}
	fetching.Wait()
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.sub.DrainTimeout)
	defer cancel()
	var drains sync.WaitGroup
	for _, r := range readers {
		drains.Go(func() { r.lanes().Drain(deadline) })
	}
	drains.Wait()
	return nil
}
