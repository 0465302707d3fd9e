package inbox

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/resolver"
)

// What a subscription registers as: an instance of the service <prefix><topic>,
// with these labels.
const (
	servicePrefix = "inbox." // with the longest topic it is the longest service name

	labelGroup = "inbox-group"
	labelStart = "inbox-start" // labelLast, or anything else for the first
	labelSince = "inbox-since" // nanoseconds of the Unix era: from when on, where labelStart is labelLast

	labelLast = "last"
)

// topic is a topic that we publish to.
type topic struct {
	b     *Broker
	name  string
	turn  chan struct{}  // capacity 1: holds whoever appends, so that our count is the log's
	known chan struct{}  // closed when the registry has told the members for the first time
	times []atomic.Int64 // when the message at an offset was appended, by offset % len

	mu        sync.Mutex            // guards what follows
	next      int64                 // offset of the next message
	groups    map[string]*forwarder // those with members
	handled   map[string]*handled   // of all groups that ever had some
	castEnded map[string]int64      // when a broadcast's forwarder has stopped, by the instance's ID
}

func newTopic(b *Broker, name string) *topic {
	return &topic{
		b:         b,
		name:      name,
		turn:      make(chan struct{}, 1),
		known:     make(chan struct{}),
		times:     make([]atomic.Int64, 2*b.retention), // the next one is written while the log may still be full
		groups:    make(map[string]*forwarder),
		handled:   make(map[string]*handled),
		castEnded: make(map[string]int64),
	}
}

// append puts m into the log.
func (t *topic) append(ctx context.Context, m *pubsub.Message) error {
	select {
	case <-t.known:
	case <-ctx.Done():
		return fmt.Errorf("the registry has not told the subscribers: %w", context.Cause(ctx))
	case <-t.b.closed.Done():
		return pubsub.ErrClosed
	}
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("others wait for a place in the topic, too: %w", context.Cause(ctx))
	}
	defer func() { <-t.turn }()
	t.mu.Lock()
	next := t.next
	t.mu.Unlock()
	t.times[next%int64(len(t.times))].Store(time.Now().UnixNano())
	if err := t.b.log.Publish(ctx, m); err != nil {
		return err
	}
	t.mu.Lock()
	t.next++
	t.mu.Unlock()
	return nil
}

// appended is when the message at offset was.
func (t *topic) appended(offset int64) int64 { return t.times[offset%int64(len(t.times))].Load() }

// watch follows the subscribers until ctx ends. While the registry is away, those
// last known stay.
func (t *topic) watch(ctx context.Context) {
	service, first, down := servicePrefix+t.name, true, false
	log := t.b.logger.With("topic", t.name)
	for try := 0; ctx.Err() == nil; try++ {
		for insts, err := range t.b.reg.Watch(ctx, service) {
			if err != nil {
				if !down {
					log.Warn("inbox: the registry does not tell the subscribers, trying again", "error", err)
				}
				down = true
				break
			}
			if down {
				log.Info("inbox: the registry tells the subscribers again")
			}
			try, down = 0, false
			t.update(ctx, insts)
			if first {
				close(t.known)
				first = false
			}
		}
		sleep(ctx, backoff(try))
	}
}

// update begins to deliver to groups that are new, and ends it for those without
// members.
func (t *topic) update(ctx context.Context, insts []*resolver.Instance) {
	members := make(map[string][]*resolver.Instance)
	for _, inst := range insts {
		key := groupKey(inst)
		members[key] = append(members[key], inst)
	}
	t.mu.Lock()
	var started []*forwarder
	for key, insts := range members {
		f := t.groups[key]
		if f == nil {
			f = t.begin(key, insts)
			started = append(started, f)
		}
		f.update(insts)
	}
	for key, f := range t.groups {
		if members[key] == nil {
			t.end(key, f)
		}
	}
	t.mu.Unlock()
	for _, f := range started {
		f.start(ctx)
	}
	t.b.moved()
}

// groupKey is the group of an instance; a broadcast is a group of its own.
func groupKey(inst *resolver.Instance) string {
	if group := inst.Labels[labelGroup]; group != "" {
		return "group " + group
	}
	return "broadcast " + inst.ID
}

// begin makes the forwarder of a group. The caller holds the lock.
func (t *topic) begin(key string, insts []*resolver.Instance) *forwarder {
	f := &forwarder{t: t, group: insts[0].Labels[labelGroup], stopping: make(chan struct{}), handled: t.handled[key]}
	if f.handled == nil { // the group is new, so it begins where it wants to
		f.handled = newHandled(t.oldest(), t.b.retention)
		if insts[0].Labels[labelStart] == labelLast {
			f.handled.since, _ = strconv.ParseInt(insts[0].Labels[labelSince], 10, 64) // another program's label may make it 0: all
		}
		if f.group == "" {
			f.handled.since = max(f.handled.since, t.castEnded[insts[0].ID])
		} else {
			t.handled[key] = f.handled
		}
	}
	t.groups[key] = f
	return f
}

// oldest is the offset of the oldest message that the log has. The caller holds
// the lock.
func (t *topic) oldest() int64 { return max(t.next-int64(t.b.retention), 0) }

// end stops a forwarder. The caller holds the lock.
func (t *topic) end(key string, f *forwarder) {
	delete(t.groups, key)
	close(f.stopping)
	f.update(nil)
	if id, ok := strings.CutPrefix(key, "broadcast "); ok {
		if len(t.castEnded) >= maxCastEnded {
			clear(t.castEnded)
		}
		t.castEnded[id] = time.Now().UnixNano()
	}
}

// maxCastEnded bounds what is remembered of broadcast subscribers that are gone.
const maxCastEnded = 1000

// pending is how many deliveries are left, to groups with members.
func (t *topic) pending() (n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.groups {
		n += f.handled.left(t.oldest(), t.next)
	}
	return n
}

// sleep waits for some time, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
