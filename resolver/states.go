package resolver

import (
	"cmp"
	"slices"
	"time"
)

// WatchState is what the clients of this process know about one service, for
// metrics, health checks and debugging.
type WatchState struct {
	Service   string
	Clients   int       // grpc.ClientConns that resolve it; 0 while the watch lingers
	Instances int       // that balancers were given
	Held      int       // of those, the ones that vanished right after an outage; see WithGrace
	Known     bool      // the registry, or a snapshot on disk, has told the instances
	Saved     time.Time // when the instances were saved, if they are from a snapshot on disk; else zero
	Watching  bool      // the registry is there, and tells changes; else the instances are those last known
	Since     time.Time // when Watching last changed, or the watch began
	Changed   time.Time // when the instances last changed; zero before the first
	Failures  int64     // how often the watch has failed
	Err       error     // why Watching is false; nil before the first answer
}

// Staleness is how long the instances may have changed unseen: 0 while the
// registry is watched.
func (s WatchState) Staleness() time.Duration {
	switch {
	case s.Watching:
		return 0
	case !s.Saved.IsZero():
		return time.Since(s.Saved)
	}
	return time.Since(s.Since)
}

// Watches returns the state of each watch that the clients of this process
// share, sorted by service. Services of the same name in two registries are two.
// It is cheap, and safe for concurrent use.
func Watches() []WatchState {
	shared.Lock()
	defer shared.Unlock()
	states := make([]WatchState, 0, len(shared.watches))
	for _, w := range shared.watches {
		states = append(states, w.report())
	}
	slices.SortStableFunc(states, func(a, b WatchState) int { return cmp.Compare(a.Service, b.Service) })
	return states
}

// report needs shared.
func (w *watch) report() WatchState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return WatchState{
		Service: w.service, Clients: w.users,
		Instances: len(w.state.instances), Held: w.held, Known: w.state.known, Saved: w.saved,
		Watching: w.watching, Since: w.since, Changed: w.changed, Failures: w.failures, Err: w.err,
	}
}

// AnnouncerState is whether the instances of an Announcer can be found, for
// metrics, health checks and debugging.
type AnnouncerState struct {
	Service       string // of the first of its instances, by which people know it
	ID            string // likewise
	Registered    bool
	Since         time.Time // when Registered last changed, or Run was called; zero before
	Registrations int64     // how often they were registered; all but the first are losses that were made good
	Err           error     // why they are not registered; nil before the first attempt
}

// State returns the state of the Announcer. It is cheap, and safe for concurrent
// use.
func (a *Announcer) State() AnnouncerState {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.state
	if len(a.want) > 0 && a.want[0] != nil {
		s.Service, s.ID = a.want[0].Service, a.want[0].ID
	}
	return s
}

// turn notes a change, and tells OnChange.
func (a *Announcer) turn(registered bool, err error) {
	a.mu.Lock()
	if registered != a.state.Registered || a.state.Since.IsZero() {
		a.state.Registered, a.state.Since = registered, time.Now()
	}
	if registered {
		a.state.Registrations++
	}
	a.state.Err = err
	a.mu.Unlock()
	a.onChange(registered, err)
}
