package pubsub

import (
	"math"
	"slices"
	"sync"

	"github.com/grpc-micro/micro/internal/lanes"
)

// topic is one topic of a cluster: its partitions, and who reads them.
type topic struct {
	name string
	logs []*memoryLog

	mu     sync.Mutex // guards groups and all in them; a log's lock may be taken under it
	groups map[string]*memoryGroup
	casts  []*memoryGroup // broadcasts: groups of one, without a name
}

// memoryGroup is the members of a group and how far they have come.
type memoryGroup struct {
	name    string
	members []*member
	parts   []memoryPart // by partition
}

type memoryPart struct {
	committed lanes.Position
	want      *member // who is to read it
	owner     *member // who reads it: not another one before that has drained it
}

func newTopic(name string, o memoryOptions) *topic {
	t := &topic{name: name, groups: make(map[string]*memoryGroup)}
	for range o.partitions {
		t.logs = append(t.logs, newMemoryLog(o.retention))
	}
	return t
}

// join makes m a member of its group. From then on nothing that is published is
// missed.
func (t *topic) join(m *member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[m.sub.Group]
	isNew := g == nil
	switch {
	case m.sub.Group == "":
		g = t.newGroup(m.sub)
		t.casts = append(t.casts, g)
	case isNew:
		g = t.newGroup(m.sub)
		t.groups[g.name] = g
	}
	m.group = g
	g.members = append(g.members, m)
	t.releaseAll() // nothing is dropped any more that g needs
	if len(g.members) == 1 {
		g.skipDropped(t, m.sub, isNew)
		t.releaseAll()
	}
	g.assign()
}

func (t *topic) newGroup(sub *Subscription) *memoryGroup {
	g := &memoryGroup{name: sub.Group, parts: make([]memoryPart, len(t.logs))}
	for p, l := range t.logs {
		first, next := l.bounds()
		switch sub.Start {
		case First:
		case Last:
			first = next
		case At:
			first = l.since(sub.StartTime)
		}
		g.parts[p].committed.Next = first
	}
	return g
}

// skipDropped moves a group that had no members behind what was dropped
// meanwhile.
func (g *memoryGroup) skipDropped(t *topic, sub *Subscription, isNew bool) {
	for p, l := range t.logs {
		at := &g.parts[p].committed
		if first, _ := l.bounds(); at.Next < first {
			if !isNew {
				sub.Logger.Error("pubsub: messages were dropped while the group had no members (WithRetention)",
					"partition", p, "offset", at.Next, "first_kept", first)
			}
			*at = lanes.Position{Next: first}
		}
	}
}

// leave begins m's way out: its partitions are given to others as it releases
// them.
func (t *topic) leave(m *member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.group.members = slices.DeleteFunc(m.group.members, func(o *member) bool { return o == m })
	m.group.assign()
}

// left ends it: all its partitions are released.
func (t *topic) left(m *member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.casts = slices.DeleteFunc(t.casts, func(g *memoryGroup) bool { return g == m.group })
	t.releaseAll()
}

// commit takes down how far the owner of partition p has come.
func (t *topic) commit(m *member, p int, pos lanes.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.group.parts[p].committed = pos
	t.release(p)
}

// give takes down where m has stopped, and lets the next one have p.
func (t *topic) give(m *member, p int, pos lanes.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	part := &m.group.parts[p]
	part.committed, part.owner = pos, nil
	if part.want != nil {
		signal(part.want.changed)
	}
	t.release(p)
}

// changes makes m the owner of what it is to read and nobody else reads any
// more, and returns that, and what m reads and is to give away.
func (t *topic) changes(m *member) (take []lanes.Position, taken, drop []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range m.group.parts {
		switch part := &m.group.parts[p]; {
		case part.owner == m && part.want != m:
			drop = append(drop, p)
		case part.owner == nil && part.want == m:
			part.owner = m
			take, taken = append(take, part.committed), append(taken, p)
		}
	}
	return take, taken, drop
}

// assign spreads the partitions evenly over the members, and moves no more of
// them than that needs.
func (g *memoryGroup) assign() {
	has := make(map[*member]int, len(g.members))
	for _, m := range g.members {
		has[m] = 0
	}
	if len(has) == 0 {
		for p := range g.parts {
			g.parts[p].want = nil
		}
		return
	}
	least, more := len(g.parts)/len(has), len(g.parts)%len(has) // "more" members have one above the least
	fits := func(m *member) bool {
		n, in := has[m]
		if !in || n > least || n == least && more == 0 {
			return false
		}
		if n == least {
			more--
		}
		has[m]++
		return true
	}
	var loose []*memoryPart
	for p := range g.parts {
		if part := &g.parts[p]; !fits(part.want) {
			loose = append(loose, part)
		}
	}
	for _, part := range loose {
		part.want = g.members[slices.IndexFunc(g.members, fits)]
	}
	for _, m := range g.members {
		signal(m.changed)
	}
}

// release tells the log of p what every group with members has finished.
func (t *topic) release(p int) {
	floor := int64(math.MaxInt64)
	t.holding(func(g *memoryGroup) { floor = min(floor, g.parts[p].committed.Next) })
	t.logs[p].release(floor)
}

func (t *topic) releaseAll() {
	for p := range t.logs {
		t.release(p)
	}
}

// slowest names the group that is farthest behind in p.
func (t *topic) slowest(p int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var name string
	at := int64(math.MaxInt64)
	t.holding(func(g *memoryGroup) {
		if next := g.parts[p].committed.Next; next < at {
			name, at = g.name, next
		}
	})
	return name
}

// holding calls f for the groups that keep messages from being dropped.
func (t *topic) holding(f func(*memoryGroup)) {
	for _, g := range t.groups {
		if len(g.members) > 0 || slices.ContainsFunc(g.parts, func(p memoryPart) bool { return p.owner != nil }) {
			f(g)
		}
	}
	for _, g := range t.casts {
		f(g)
	}
}
