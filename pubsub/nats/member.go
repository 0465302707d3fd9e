package nats

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

// member is a group's member: this subscription. All its fields belong to the
// goroutine that runs it.
type member struct {
	*subscription

	store *store
	log   *slog.Logger
	id    string
	first int64 // where a new group begins

	parts   []part
	peers   map[string]*peer
	self    time.Time       // when we last saw a sign of life of our own
	told    map[string]bool // the buckets of which we have seen all
	leaving bool
	outside bool // we do not know our partitions, or the others may take us for dead
	updates chan update
	lost    chan *reader // which have found out that somebody else has their partition
	ended   chan *reader // which have stopped, and given it away
}

// part is what we know of a partition.
type part struct {
	entry    entry
	revision uint64  // 0: there is no entry
	reader   *reader // not nil: we have it
	dropping bool    // and are giving it away
}

// peer is another member.
type peer struct {
	seen     time.Time // its last sign of life, by our clock
	revision uint64    // of it; 0 if we know it only as an owner
}

// member is a member of the group until ctx ends.
func (s *subscription) member(ctx context.Context, first int64) error {
	m := &member{
		subscription: s,
		log:          s.sub.Logger,
		id:           fmt.Sprintf("m%016x", rand.Uint64()), //nolint:gosec // unique, and no secret
		first:        first,
		parts:        make([]part, len(s.topic.subjects)),
		peers:        make(map[string]*peer),
		self:         time.Now(),
		told:         make(map[string]bool),
		outside:      true,
		updates:      make(chan update),
		lost:         make(chan *reader, len(s.topic.subjects)),
		ended:        make(chan *reader, len(s.topic.subjects)),
	}
	m.sub.Rebalanced(nil)
	if err := m.open(ctx); err != nil {
		return err
	}
	// What the member does beside goes on while it drains.
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	for _, bucket := range []string{positionsBucket, membersBucket} {
		work.Go(func() { m.store.watch(beside, s.js, bucket, newTrouble(m.log, "watching "+bucket), m.updates) })
	}
	work.Go(func() { m.beat(beside) })
	m.run(ctx)
	stop()
	work.Wait()
	_ = m.store.remove(context.WithoutCancel(ctx), m.id, 0) // else the session timeout does
	return nil
}

// open opens the buckets, and shows that we are there; within the connect
// timeout.
func (m *member) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.b.connect, fmt.Errorf("connect timeout of %v: %w", m.b.connect, context.DeadlineExceeded))
	defer cancel()
	for try := 0; ; try++ {
		if m.store, err = m.b.openStore(ctx, m.js, m.sub.Topic, m.sub.Group); err == nil {
			err = m.store.beat(ctx, m.id)
		}
		switch {
		case err == nil || hopeless(err):
			return err
		case !pause(ctx, try):
			return fmt.Errorf("join group %s: %w (%w)", m.sub.Group, err, context.Cause(ctx))
		}
	}
}

// beat gives signs of life until ctx ends.
func (m *member) beat(ctx context.Context) {
	trouble := newTrouble(m.log, "signs of life")
	tick := time.NewTicker(m.b.session / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := m.store.beat(ctx, m.id); ctx.Err() == nil {
				trouble.is(err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// run takes and gives away partitions as members come and go, and returns when
// ctx has ended and all are given away.
func (m *member) run(ctx context.Context) {
	tick := time.NewTicker(m.b.session / 4)
	defer tick.Stop()
	check := time.NewTicker(pubsub.StallCheck)
	defer check.Stop()
	done := ctx.Done()
	for !m.leaving || m.busy() {
		select {
		case u := <-m.updates:
			m.learn(u)
		case r := <-m.lost:
			m.dropped(r, true)
		case r := <-m.ended:
			m.gone(r)
		case <-tick.C:
			m.expire(ctx)
		case <-check.C:
			for p := range m.parts {
				if r := m.parts[p].reader; r != nil {
					m.checkStall(p, r.queue)
				}
			}
		case <-done:
			m.leaving, done = true, nil
		}
		changed := m.rebalance(ctx)
		if outside := !m.knows() || m.fenced(); changed || outside != m.outside {
			m.outside = outside
			m.report()
		}
	}
}

// report has the partitions that we have now be those of the subscription.
func (m *member) report() {
	if m.outside {
		m.sub.Rebalanced(nil)
		return
	}
	var readers []*reader
	for p := range m.parts {
		if r := m.parts[p].reader; r != nil && !m.parts[p].dropping {
			readers = append(readers, r)
		}
	}
	m.sub.Rebalanced(func() []pubsub.PartitionState {
		states := make([]pubsub.PartitionState, len(readers))
		for i, r := range readers {
			states[i] = r.seen.state(r.partition, r.queue, m.b.conn)
		}
		return states
	})
}

func (m *member) busy() bool {
	for p := range m.parts {
		if m.parts[p].reader != nil {
			return true
		}
	}
	return false
}

// learn takes in what a bucket tells.
func (m *member) learn(u update) {
	switch {
	case u.name == "":
		m.told[u.bucket] = true
	case u.bucket == membersBucket:
		m.learnMember(u)
	default:
		m.learnPartition(u)
	}
}

func (m *member) learnMember(u update) {
	switch p := m.peers[u.name]; {
	case u.name == m.id:
		if !u.deleted {
			m.self = time.Now()
		}
	case u.deleted:
		if p != nil && p.revision < u.revision {
			delete(m.peers, u.name)
		}
	case p == nil || p.revision < u.revision:
		m.peers[u.name] = &peer{seen: time.Now(), revision: u.revision}
	}
}

func (m *member) learnPartition(u update) {
	p, err := strconv.Atoi(u.name)
	if err != nil || p < 0 || p >= len(m.parts) || u.revision <= m.parts[p].revision {
		return
	}
	part := &m.parts[p]
	if u.deleted { // by an operator: it is as if the group were new there
		part.entry, part.revision = entry{}, 0
		return
	}
	e, err := decodeEntry(u.value)
	if err != nil {
		m.log.Error("nats: the entry of a partition cannot be read", "bucket", positionsBucket, "key", m.store.partitionKey(p), "error", err)
		return
	}
	part.entry, part.revision = e, u.revision
	if part.reader != nil && e.Owner != m.id && u.revision > part.reader.revision.Load() {
		m.dropped(part.reader, true)
	}
	if e.Owner != "" && e.Owner != m.id && m.peers[e.Owner] == nil {
		m.peers[e.Owner] = &peer{seen: time.Now()} // its sign of life is on the way, or it is dead
	}
}

// expire forgets members without a sign of life. They are measured against our
// own, which takes the same way: if that has not come, theirs cannot have.
func (m *member) expire(ctx context.Context) {
	for id, p := range m.peers {
		if m.self.Sub(p.seen) <= m.b.session {
			continue
		}
		delete(m.peers, id)
		if p.revision > 0 {
			m.log.Warn("nats: a member of the group is gone without leaving", "member", id)
			_ = m.store.remove(ctx, id, p.revision) // the others try, too
		}
	}
}

// knows reports that we have seen who has what.
func (m *member) knows() bool { return m.told[positionsBucket] && m.told[membersBucket] }

// fenced reports that the others may take us for dead.
func (m *member) fenced() bool { return time.Since(m.self) > m.b.session }

// rebalance gives away what is not ours any more, and takes what is ours and
// nobody has. It reports whether it has done either.
func (m *member) rebalance(ctx context.Context) (changed bool) {
	if !m.leaving && !m.knows() {
		return false
	}
	var owners []string
	if m.leaving || m.fenced() {
		owners = make([]string, len(m.parts))
	} else {
		members := []string{m.id}
		for id, p := range m.peers {
			if p.revision > 0 {
				members = append(members, id)
			}
		}
		owners = assign(len(m.parts), members)
	}
	known := true
	for p := range m.parts {
		part := &m.parts[p]
		want := owners[p] == m.id
		switch {
		case part.reader != nil:
			if !want && !part.dropping {
				m.dropped(part.reader, false)
				changed = true
			}
		case m.leaving:
		case part.revision == 0:
			known = m.create(ctx, p) && known
		case part.entry.Owner == m.id && !want: // giving it away has failed, or had no answer
			e := part.entry
			e.Owner = ""
			_, _ = m.store.put(ctx, p, e, part.revision) // else the next time
		case want && (part.entry.Owner == "" || part.entry.Owner == m.id || m.peers[part.entry.Owner] == nil):
			m.take(ctx, p)
			changed = changed || part.reader != nil
		}
	}
	if known && !m.leaving {
		m.sub.Ready()
	}
	return changed
}

// create makes the entry of a partition, and reports whether it is known where
// the group begins there. Only then the subscription is ready: until then
// another member may decide.
func (m *member) create(ctx context.Context, p int) bool {
	e := entry{Next: m.first, Of: len(m.parts), Stream: m.topic.created}
	for i := range m.parts {
		if of := m.parts[i].entry.Of; m.parts[i].revision > 0 && p >= of {
			e.Next = 1 // the group has begun with fewer: everything in this one is new to it
		}
	}
	revision, err := m.store.put(ctx, p, e, 0)
	if err == nil {
		m.parts[p].entry, m.parts[p].revision = e, revision
	}
	return err == nil // one that somebody else has made is on its way to us
}

// dropped stops a reader in the background; if its partition is not lost, it is
// given away with where it has come to.
func (m *member) dropped(r *reader, lost bool) {
	part := &m.parts[r.partition]
	if part.reader != r || part.dropping {
		return
	}
	part.dropping = true
	if lost {
		m.log.Warn("nats: a partition is lost to another member", "partition", r.partition)
	}
	go func() {
		r.end(lost)
		m.ended <- r
	}()
}

// gone takes in that a reader has ended.
func (m *member) gone(r *reader) {
	part := &m.parts[r.partition]
	part.reader, part.dropping = nil, false
	if revision := r.revision.Load(); revision > part.revision {
		part.entry, part.revision = r.entry, revision
	}
}
