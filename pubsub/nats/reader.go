package nats

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grpc-micro/micro/internal/lanes"
	"github.com/grpc-micro/micro/pubsub"
)

const (
	// commitInterval is how often positions are committed: what a crash can have
	// handled again.
	commitInterval = 250 * time.Millisecond

	// commitTimeout bounds the last commit, which gives a partition away.
	commitTimeout = 5 * time.Second
)

// errLost is why a commit fails for good: another member has the partition.
var errLost = errors.New("another member has the partition")

// reader reads a partition that we have.
type reader struct {
	m         *member
	partition int
	queue     *lanes.Partition[*pubsub.Delivery]
	seen      seen
	cancel    context.CancelFunc
	work      sync.WaitGroup

	entry    entry         // as we have last written it; the committing goroutine's, and end's afterwards
	revision atomic.Uint64 // of it
}

// take makes a partition ours that nobody has, and begins to read it.
func (m *member) take(ctx context.Context, p int) {
	part := &m.parts[p]
	info, err := m.info(ctx)
	if err != nil {
		return // the next time
	}
	e := part.entry
	first := max(int64(info.State.FirstSeq), 1)
	switch {
	case !e.Stream.Equal(m.topic.created):
		if e.Next > 1 {
			m.log.Error("nats: the stream was made anew: the group begins at its oldest message", "partition", p, "was_at", e.Next, "first", first)
		}
		e.Next, e.Finished, e.Stream = first, "", m.topic.created
	case e.Next < first:
		m.log.Warn("nats: messages were deleted before the group had come to them: those of the partition among them are lost",
			"partition", p, "from", e.Next, "to", first-1)
		e.Next, e.Finished = first, ""
	}
	e.Owner = m.id
	revision, err := m.store.put(ctx, p, e, part.revision)
	if err != nil {
		return // somebody was faster, which we are about to be told, or there was no answer
	}
	part.entry, part.revision = e, revision
	r := &reader{m: m, partition: p, queue: m.pool.Partition(e.position()), entry: e}
	r.revision.Store(revision)
	ctx, r.cancel = context.WithCancel(ctx)
	r.work.Go(func() { m.fetch(ctx, m.topic.subjects[p], e.Next, r.queue, &r.seen) })
	r.work.Go(func() { r.commitOnChange(ctx) })
	part.reader = r
}

// commitOnChange commits as the position moves, until ctx ends or the partition
// is lost.
func (r *reader) commitOnChange(ctx context.Context) {
	trouble := newTrouble(r.m.log, "committing")
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-r.queue.Changed():
		case <-ctx.Done():
			return
		}
		select {
		case <-wait.C:
		case <-ctx.Done():
			return
		}
		for try := 0; ; try++ {
			e := r.entry
			e.setPosition(r.queue.Position())
			err := r.commit(ctx, e)
			if errors.Is(err, errLost) {
				r.m.lost <- r
				return
			}
			if ctx.Err() != nil {
				return
			}
			trouble.is(err)
			if err == nil || !pause(ctx, try) {
				break
			}
		}
		wait.Reset(commitInterval)
	}
}

// commit writes e. A try before it that had no answer may have come through:
// then the entry has another revision, and still our name.
func (r *reader) commit(ctx context.Context, e entry) error {
	revision, err := r.m.store.put(ctx, r.partition, e, r.revision.Load())
	if replaced(err) {
		var there entry
		if there, revision, err = r.m.store.get(ctx, r.partition); err != nil {
			return err
		}
		if there.Owner != r.entry.Owner {
			return errLost
		}
		revision, err = r.m.store.put(ctx, r.partition, e, revision)
	}
	if err != nil {
		return err
	}
	r.entry = e
	r.revision.Store(revision)
	return nil
}

// end stops reading, waits for the handlers as a drain does, and gives the
// partition away.
func (r *reader) end(lost bool) {
	r.cancel()
	r.work.Wait()
	ctx := context.WithoutCancel(r.m.ctx)
	deadline, cancel := context.WithTimeout(ctx, r.m.sub.DrainTimeout)
	defer cancel()
	r.queue.Drain(deadline)
	if lost {
		return
	}
	ctx, cancel = context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	e := r.entry
	e.setPosition(r.queue.Position())
	e.Owner = ""
	for try := 0; ; try++ {
		err := r.commit(ctx, e)
		if err == nil || errors.Is(err, errLost) {
			return
		}
		if !pause(ctx, try) {
			r.m.log.Error("nats: the last position of a partition was not committed: what was finished since is handled again",
				"partition", r.partition, "error", err)
			return
		}
	}
}
