package resolver

import (
	"slices"
	"strings"
	"time"
)

// defaultGrace is longer than what a server needs to be registered again after
// an outage: the lease of 15 s, a reconnect, and a backoff.
const defaultGrace = 30 * time.Second

// grace covers for a registry that has forgotten most of its instances in an
// outage: it was wiped, or leases ended because nobody could renew them. The
// servers most likely live on, and are about to register again. Until then
// connectivity and health checks judge them better than the registry does.
//
// Its methods need the mutex of the watch.
type grace struct {
	length  time.Duration // 0 turns it off
	pending bool          // an outage has begun, and no snapshot has come since
	until   *time.Timer   // the end of the time after an outage; nil if there is none
	base    []*Instance   // what was known when it began, sorted by ID; by its latest state
	holding bool          // most of base has vanished
}

// outage begins when the registry is lost; known is what was given to clients.
func (g *grace) outage(known []*Instance) {
	if g.length > 0 && len(known) > 0 {
		g.stop() // nothing is let go of while the registry is away
		g.pending, g.base = true, slices.Clone(known)
	}
}

// cover returns what clients are given when the registry has raw, and how many
// instances of it are held. ended is called when the time of grace is over.
func (g *grace) cover(raw []*Instance, ended func()) (given []*Instance, held int) {
	if g.pending {
		g.pending = false
		g.until = time.AfterFunc(g.length, ended)
	}
	if g.until == nil {
		return raw, 0
	}
	missing := g.missing(raw)
	if !g.holding && 2*len(missing) <= len(g.base) {
		return raw, 0 // a few come and go at any time
	}
	g.holding = true
	if len(missing) == 0 {
		return raw, 0
	}
	given = make([]*Instance, 0, len(raw)+len(missing))
	given = append(append(given, raw...), missing...)
	slices.SortFunc(given, func(a, b *Instance) int { return strings.Compare(a.ID, b.ID) })
	return given, len(missing)
}

// missing returns what has vanished without having said that it is about to.
func (g *grace) missing(raw []*Instance) []*Instance {
	var missing []*Instance
	at := 0
	for i, inst := range g.base {
		for at < len(raw) && raw[at].ID < inst.ID {
			at++
		}
		switch {
		case at < len(raw) && raw[at].ID == inst.ID:
			g.base[i] = raw[at]
		case !inst.Draining:
			missing = append(missing, inst)
		}
	}
	return missing
}

// end lets go of what did not come back.
func (g *grace) end() {
	g.stop()
	g.pending, g.holding, g.base = false, false, nil
}

func (g *grace) stop() {
	if g.until != nil {
		g.until.Stop()
		g.until = nil
	}
}
