// Package lanes runs the messages of partitions in key lanes: one handler at a
// time for a key, many keys at once, and a position to commit that never skips
// an unfinished message. Every broker uses it; drivers only fetch and commit.
//
// A driver makes one [Pool] a subscription and one [Partition] each time a
// partition is assigned to it. It adds what it fetches, commits
// [Partition.Position] when [Partition.Changed] says so, and drains the
// partition before it gives it away:
//
//	pool := lanes.New(ctx, lanes.Config[*record]{Concurrency: 64, Window: 20_000, Handle: handle})
//	q := pool.Partition(lanes.DecodePosition(committed.Offset, committed.Metadata))
//	for record := range fetched {
//		if err := q.Add(ctx, record.Offset, record.Key, record); err != nil {
//			break // ctx ended, or a handler failed for good
//		}
//	}
//	q.Drain(deadline)
//	position := q.Position()
//	commit(position.Next, position.Encode(3000))
//	pool.Close(deadline)
//
// A lane exists as long as messages of its key are in flight, and is made and
// recycled with them; keys do not share lanes, as they would if they were
// spread over a fixed number. A message whose handler asks for another try
// waits on a timer, not on a goroutine, and holds back its own key alone.
package lanes
