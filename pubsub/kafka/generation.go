package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/internal/lanes"
	"github.com/grpc-micro/micro/pubsub"
)

// maxMetadata bounds the metadata of a commit. Kafka's default limit
// (offset.metadata.max.bytes) is 4096.
const maxMetadata = 3000

// generation reads the partitions that we got in one generation of the group.
// It returns when ctx ends, which is when the group rebalances and when the
// subscription ends; and when the topic has new partitions, which has kafka-go
// ask for a rebalance. The group waits for it.
func (s *subscription) generation(ctx context.Context, gen *kafkago.Generation) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	readers := s.assigned(ctx, gen)
	if readers == nil {
		<-ctx.Done()
		return
	}
	s.report(readers)

	var fetching sync.WaitGroup
	fetching.Go(func() { s.ready(ctx) })
	if spread := s.spread.Swap(nil); spread != nil {
		fetching.Go(func() { s.watch(ctx, *spread, cancel) })
	}
	for _, r := range readers {
		fetching.Go(func() { r.run(ctx) })
	}
	stop := make(chan struct{})
	var committing sync.WaitGroup
	committing.Go(func() { s.commitOnTick(stop, gen, readers) })

	<-ctx.Done()
	fetching.Wait()
	s.drain(gen, readers)
	close(stop)
	committing.Wait()
	s.commitLast(gen, readers)
	s.sub.Rebalanced(nil)
}

// ready says that nothing is missed from now on. For a group that does not begin
// at the first message that is when every partition's beginning is committed, those of
// other members too: what is published before that could be skipped.
func (s *subscription) ready(ctx context.Context) {
	for try := 0; !s.started && s.sub.Start != pubsub.First; try++ {
		if n, err := s.b.lookup(ctx, s.sub.Topic); err == nil {
			all := make([]int, n)
			for p := range all {
				all[p] = p
			}
			committed, err := s.committed(ctx, all)
			s.started = err == nil && len(committed) == n
		}
		if !s.started && !pause(ctx, try) {
			return
		}
	}
	s.started = true
	s.sub.Ready()
}

// assigned returns a reader for each partition, at its position. Nil: the
// generation, or the subscription, has ended before all were known.
func (s *subscription) assigned(ctx context.Context, gen *kafkago.Generation) []*reader {
	partitions := make([]int, 0, len(gen.Assignments[s.sub.Topic]))
	for _, a := range gen.Assignments[s.sub.Topic] {
		partitions = append(partitions, a.ID)
	}
	readers := make([]*reader, 0, len(partitions))
	if len(partitions) == 0 {
		return readers
	}
	trouble := newTrouble(s.log, "positions are not known")
	for try := 0; ; try++ {
		positions, err := s.positions(ctx, partitions)
		if err == nil {
			for _, p := range partitions {
				readers = append(readers, newReader(s, p, positions[p]))
			}
			if s.sub.Start != pubsub.First {
				// Where a new group begins is decided once and for all, or what is
				// published until the first commit could be skipped.
				err = s.commit(ctx, gen, readers)
			}
			if err == nil {
				trouble.is(nil)
				return readers
			}
			readers = readers[:0]
		}
		if hopeless(err) {
			s.fail(fmt.Errorf("kafka: subscribe %s: positions of group %s: %w", s.sub.Topic, s.sub.Group, err))
			return nil
		}
		trouble.is(err)
		if !pause(ctx, try) {
			return nil
		}
	}
}

// positions returns what the group has committed; where it has not, the start.
func (s *subscription) positions(ctx context.Context, partitions []int) (map[int]lanes.Position, error) {
	positions, err := s.committed(ctx, partitions)
	if err != nil {
		return nil, err
	}
	start := s.sub.Start
	if s.started || len(positions) > 0 {
		start = pubsub.First // the group is not new, so the partition is
	}
	var fresh []int
	for _, p := range partitions {
		if _, ok := positions[p]; !ok {
			fresh = append(fresh, p)
		}
	}
	if len(fresh) == 0 {
		return positions, nil
	}
	starts, err := s.offsets(ctx, fresh, start)
	for p, offset := range starts {
		positions[p] = lanes.Position{Next: offset}
	}
	return positions, err
}

// committed returns the positions that the group has committed.
func (s *subscription) committed(ctx context.Context, partitions []int) (map[int]lanes.Position, error) {
	r, err := s.b.client.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: s.sub.Group, Topics: map[string][]int{s.sub.Topic: partitions}})
	if err != nil {
		return nil, err
	}
	if r.Error != nil {
		return nil, r.Error
	}
	positions := make(map[int]lanes.Position)
	for _, p := range r.Topics[s.sub.Topic] {
		if p.Error != nil {
			return nil, p.Error
		}
		if p.CommittedOffset >= 0 {
			positions[p.Partition] = lanes.DecodePosition(p.CommittedOffset, p.Metadata)
		}
	}
	return positions, nil
}

// offsets returns where partitions begin or end, or what they have from the
// subscription's start time on.
func (s *subscription) offsets(ctx context.Context, partitions []int, start pubsub.Start) (map[int]int64, error) {
	var request []kafkago.OffsetRequest
	for _, p := range partitions {
		switch start {
		case pubsub.Last:
			request = append(request, kafkago.LastOffsetOf(p))
		case pubsub.At:
			request = append(request, kafkago.TimeOffsetOf(p, s.sub.StartTime))
		default:
			request = append(request, kafkago.FirstOffsetOf(p))
		}
	}
	r, err := s.b.client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{s.sub.Topic: request}})
	if err != nil {
		s.b.healAfter(err)
		return nil, err
	}
	offsets := make(map[int]int64)
	var later []int // where nothing is as new as the start time
	for _, p := range r.Topics[s.sub.Topic] {
		if p.Error != nil {
			s.b.heal() // kafka-go has lost the reason
			return nil, p.Error
		}
		switch start {
		case pubsub.Last:
			offsets[p.Partition] = p.LastOffset
		case pubsub.At:
			offset := int64(-1)
			for o := range p.Offsets { // there is one, or none
				offset = o
			}
			if offset < 0 {
				later = append(later, p.Partition)
				continue
			}
			offsets[p.Partition] = offset
		default:
			offsets[p.Partition] = p.FirstOffset
		}
	}
	if len(later) > 0 {
		ends, err := s.offsets(ctx, later, pubsub.Last)
		if err != nil {
			return nil, err
		}
		maps.Copy(offsets, ends)
	}
	if len(offsets) != len(partitions) {
		return nil, fmt.Errorf("the cluster knows offsets of %d of %d partitions", len(offsets), len(partitions))
	}
	return offsets, nil
}

// commitOnTick commits what has changed, until stop is closed.
func (s *subscription) commitOnTick(stop <-chan struct{}, gen *kafkago.Generation, readers []*reader) {
	tick := time.NewTicker(commitInterval)
	defer tick.Stop()
	trouble := newTrouble(s.log, "positions are not committed")
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(s.b.ctx, commitTimeout)
		err := s.commit(ctx, gen, readers)
		cancel()
		if !errors.Is(err, kafkago.RebalanceInProgress) && !fenced(err) { // the heartbeat knows too
			trouble.is(err)
		}
	}
}

// commitLast commits what the drained partitions have come to. A coordinator that
// is away, because its server has died, cannot give them to others either: it is
// waited for up to the session timeout, unless the subscription is to end.
func (s *subscription) commitLast(gen *kafkago.Generation, readers []*reader) {
	ctx, cancel := context.WithTimeout(s.b.ctx, commitTimeout)
	defer cancel()
	err := s.commitUntil(ctx, gen, readers)
	if err != nil && !fenced(err) && s.b.session > commitTimeout {
		s.log.Warn("kafka: the last positions are not committed, trying again", "error", err)
		ctx, cancel := context.WithTimeout(s.ctx, s.b.session-commitTimeout)
		defer cancel()
		err = s.commitUntil(ctx, gen, readers)
	}
	if err != nil {
		s.log.Warn("kafka: the last positions are not committed: what was finished since the commit before will be handled again", "error", err)
	}
}

// commitUntil tries to commit until ctx ends, or the group has gone on without us.
func (s *subscription) commitUntil(ctx context.Context, gen *kafkago.Generation, readers []*reader) error {
	for try := 0; ; try++ {
		err := s.commit(ctx, gen, readers)
		if err == nil || fenced(err) || !pause(ctx, try) {
			return err
		}
	}
}

// commit commits the positions that have changed. The group refuses those of an
// old generation; a partition that is not ours it would take, but readers has
// only those that this generation got.
func (s *subscription) commit(ctx context.Context, gen *kafkago.Generation, readers []*reader) error {
	var commits []kafkago.OffsetCommit
	var changed []*reader
	for _, r := range readers {
		if pos, ok := r.changed(); ok {
			commits = append(commits, kafkago.OffsetCommit{Partition: r.partition, Offset: pos.Next, Metadata: pos.Encode(s.metadata)})
			changed = append(changed, r)
		}
	}
	if len(commits) == 0 {
		return nil
	}
	response, err := s.b.client.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{
		GroupID:      gen.GroupID,
		GenerationID: int(gen.ID),
		MemberID:     gen.MemberID,
		Topics:       map[string][]kafkago.OffsetCommit{s.sub.Topic: commits},
	})
	if err == nil {
		for _, p := range response.Topics[s.sub.Topic] {
			if p.Error != nil {
				err = p.Error
			}
		}
	}
	if errors.Is(err, kafkago.OffsetMetadataTooLarge) && s.metadata > 0 {
		s.log.Warn("kafka: the cluster takes less metadata beside an offset (offset.metadata.max.bytes): a rebalance will repeat more", "bytes", s.metadata)
		s.metadata /= 2
	}
	if err != nil {
		for _, r := range changed {
			r.dirty = true
		}
	}
	return err
}

// drain lets the handlers finish. The group would believe us dead meanwhile,
// because kafka-go's heartbeat has ended; and if it does not want us any more,
// it is no use to wait.
func (s *subscription) drain(gen *kafkago.Generation, readers []*reader) {
	deadline, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.sub.DrainTimeout)
	defer cancel()
	var drains, heart sync.WaitGroup
	for _, r := range readers {
		drains.Go(func() { r.lanes().Drain(deadline) })
	}
	beating, stop := context.WithCancel(deadline)
	heart.Go(func() {
		for {
			r, err := s.b.client.Heartbeat(beating, &kafkago.HeartbeatRequest{GroupID: gen.GroupID, GenerationID: gen.ID, MemberID: gen.MemberID})
			if err == nil && fenced(r.Error) {
				cancel()
			}
			select {
			case <-beating.Done():
				return
			case <-time.After(s.b.session / 5):
			}
		}
	})
	drains.Wait()
	stop()
	heart.Wait()
}
