package balancer

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"
)

// slowStartConfig gives an instance that is new its share of calls little by
// little, so that its caches and its compiler can warm up.
type slowStartConfig struct {
	window time.Duration
	least  float64 // share at the beginning
}

// parseSlowStart takes window (30 s) and minPercent (10).
func parseSlowStart(c *config, raw json.RawMessage) error {
	parsed := struct {
		Window     duration `json:"window"`
		MinPercent int      `json:"minPercent"`
	}{duration(30 * time.Second), 10}
	if err := ParseStrict(raw, &parsed); err != nil {
		return err
	}
	s := &slowStartConfig{time.Duration(parsed.Window), float64(parsed.MinPercent) / 100}
	c.slowStart = s
	return errors.Join(
		within("window", s.window, 10*time.Millisecond, time.Hour),
		within("minPercent", parsed.MinPercent, 1, 99))
}

// slowTries bounds how often a call is passed on from endpoints that start
// slowly. When most do, calls go to them whatever their share.
const slowTries = 4

// startSlowly lets the endpoint have its share of calls little by little from
// now on.
func (e *Endpoint) startSlowly(c *config) {
	if c.slowStart != nil {
		e.started.Store(nanotime() | 1) // 0 is for who does not
	}
}

// share returns how much of its calls an endpoint is to get, up to 1.
func (e *Endpoint) share(s *slowStartConfig) float64 {
	started := e.started.Load()
	if s == nil || started == 0 {
		return 1
	}
	share := float64(nanotime()-started) / float64(s.window)
	if share >= 1 {
		e.started.CompareAndSwap(started, 0)
		return 1
	}
	return max(share, s.least)
}

// admits decides by lot whether an endpoint takes a call.
func (s *slowStartConfig) admits(e *Endpoint) bool {
	if e.started.Load() == 0 {
		return true
	}
	share := e.share(s)
	return share >= 1 || rand.Float64() < share //nolint:gosec // spreads load, hides nothing
}
