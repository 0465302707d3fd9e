package balancer

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// ejectionConfig says when an instance is bad enough to be left alone for a
// while. Each of the three rules can be on or off.
type ejectionConfig struct {
	consecutive int           // failures without an answer between them; 0: off
	deviations  float64       // of success rates, below their mean; 0: off
	slower      float64       // times the median of latencies; 0: off
	calls       int           // that an instance must have had in an interval for the last two
	instances   int           // that must have had them
	interval    time.Duration // between looks at the last two
	time        time.Duration // of the first ejection; the next one is as much longer, and so on
	longest     time.Duration
	percent     int // of the instances that may be ejected at once; one may be, always
}

// parseEjection takes what parsed has, with these defaults.
func parseEjection(c *config, raw json.RawMessage) error {
	parsed := struct {
		ConsecutiveFailures   int          `json:"consecutiveFailures"`
		SuccessRateDeviations float64      `json:"successRateDeviations"`
		LatencyFactor         float64      `json:"latencyFactor"`
		MinCalls              int          `json:"minCalls"`
		MinInstances          int          `json:"minInstances"`
		Interval              duration     `json:"interval"`
		Time                  duration     `json:"time"`
		MaxTime               duration     `json:"maxTime"`
		MaxPercent            int          `json:"maxPercent"`
		Codes                 []codes.Code `json:"codes"`
	}{
		5, 1.9, 0, 100, 5, duration(10 * time.Second), duration(30 * time.Second), duration(5 * time.Minute), 30,
		[]codes.Code{codes.Unavailable},
	}
	if err := ParseStrict(raw, &parsed); err != nil {
		return err
	}
	e := &ejectionConfig{
		parsed.ConsecutiveFailures, parsed.SuccessRateDeviations, parsed.LatencyFactor, parsed.MinCalls, parsed.MinInstances,
		time.Duration(parsed.Interval), time.Duration(parsed.Time), time.Duration(parsed.MaxTime), parsed.MaxPercent,
	}
	c.ejection = e
	c.track |= trackInFlight | trackOutcome
	if e.slower > 0 {
		c.track |= trackLatency
	}
	c.failures = 0
	for _, code := range parsed.Codes {
		if code == codes.OK {
			return errors.New("codes has OK, which is no failure")
		}
		c.failures |= 1 << code
	}
	return errors.Join(
		within("consecutiveFailures", e.consecutive, 0, 1<<20),
		within("successRateDeviations", e.deviations, 0, 100),
		within("latencyFactor", e.slower, 0, 1000),
		within("minCalls", e.calls, 1, 1<<20),
		within("minInstances", e.instances, 2, 1<<20),
		within("interval", e.interval, 10*time.Millisecond, time.Hour),
		within("time", e.time, 10*time.Millisecond, time.Hour),
		within("maxTime", e.longest, e.time, 24*time.Hour),
		within("maxPercent", e.percent, 1, 100),
	)
}

// record is how calls went, for ejection.
type record struct {
	inARow atomic.Int32 // failures

	// In this interval.
	good  atomic.Int64
	bad   atomic.Int64
	timed atomic.Int64 // the good ones that are no streams
	took  atomic.Int64 // of these together, in ns
}

// outcome notes how a call went. Only errors that are the instance's are
// failures; what the application answers is a success; and calls that the
// caller ended say nothing.
func (e *Endpoint) outcome(failed bool, code codes.Code, took int64, cfg *ejectionConfig) {
	switch {
	case failed:
		e.record.bad.Add(1)
		if n := e.record.inARow.Add(1); cfg.consecutive > 0 && int(n)%cfg.consecutive == 0 {
			e.set.suspects.Store(true)
			e.set.wakeUp()
		}
	case code == codes.Canceled || code == codes.DeadlineExceeded:
	default:
		if e.record.inARow.Load() != 0 {
			e.record.inARow.Store(0)
		}
		e.record.good.Add(1)
		if took > 0 {
			e.record.timed.Add(1)
			e.record.took.Add(took)
		}
	}
}

// ejections is what endpointSet knows of bad instances. Its mu guards it, and
// Endpoint's ejectedUntil and ejections.
type ejections struct {
	out  []*Endpoint // those that are ejected
	next time.Time   // when to look at rates and latencies again
}

// eject does what is due, and returns when to come again. It runs on run's
// goroutine, and needs b.mu.
func (b *endpointSet) eject(now time.Time) (again time.Time) {
	cfg := b.config.ejection
	if cfg == nil {
		if b.readmit(func(*Endpoint) bool { return true }) {
			b.publish()
		}
		return again
	}
	changed := b.readmit(func(e *Endpoint) bool { return !now.Before(e.ejectedUntil) })
	if b.suspects.Swap(false) {
		for _, e := range b.all {
			if cfg.consecutive > 0 && int(e.record.inARow.Load()) >= cfg.consecutive {
				changed = b.ejectOne(e, now) || changed
			}
		}
	}
	if b.ejections.next.IsZero() {
		b.ejections.next = now.Add(cfg.interval)
	}
	if !now.Before(b.ejections.next) {
		b.ejections.next = now.Add(cfg.interval)
		changed = b.compare(now) || changed
	}
	if changed {
		b.publish()
	}
	again = b.ejections.next
	for _, e := range b.ejections.out {
		if e.ejectedUntil.Before(again) {
			again = e.ejectedUntil
		}
	}
	return again
}

// ejectOne leaves an endpoint alone, unless too many are already or nobody
// would be left.
func (b *endpointSet) ejectOne(e *Endpoint, now time.Time) bool {
	cfg := b.config.ejection
	if e.ejected.Load() || e.removed {
		return false
	}
	if n, out := b.joined(), len(b.ejections.out)+1; out >= n || out > max(1, n*cfg.percent/100) {
		return false
	}
	e.ejections++
	e.ejectedUntil = now.Add(min(cfg.longest, time.Duration(e.ejections)*cfg.time))
	e.ejected.Store(true)
	b.ejections.out = append(b.ejections.out, e)
	b.list(e)
	return true
}

// readmit takes ejected endpoints back, as new ones: what happened before does
// not count against them, but in the time of the next ejection.
func (b *endpointSet) readmit(when func(*Endpoint) bool) (changed bool) {
	b.ejections.out = slices.DeleteFunc(b.ejections.out, func(e *Endpoint) bool {
		if !e.removed && !when(e) {
			return false
		}
		e.ejected.Store(false)
		e.record.inARow.Store(0)
		e.record.good.Store(0)
		e.record.bad.Store(0)
		e.record.timed.Store(0)
		e.record.took.Store(0)
		e.startSlowly(b.config)
		if !e.removed {
			b.list(e)
		}
		changed = true
		return true
	})
	return changed
}

// joined counts the endpoints that are to be connected.
func (b *endpointSet) joined() int {
	n := 0
	for _, count := range b.states {
		n += count
	}
	return n
}

// compare looks at the interval that has passed: who failed more often, or
// took longer, than the others do.
func (b *endpointSet) compare(now time.Time) (changed bool) {
	cfg := b.config.ejection
	type seen struct {
		endpoint      *Endpoint
		rate, latency float64
	}
	var all []seen
	for _, e := range b.all {
		good, bad, timed, took := e.record.good.Swap(0), e.record.bad.Swap(0), e.record.timed.Swap(0), e.record.took.Swap(0)
		if !e.ejected.Load() && e.ejections > 0 {
			e.ejections-- // an interval without an ejection
		}
		if good+bad >= int64(cfg.calls) {
			all = append(all, seen{e, float64(good) / float64(good+bad), float64(took) / float64(max(1, timed))})
		}
	}
	if len(all) < cfg.instances {
		return false
	}
	sum, squares := 0.0, 0.0
	latencies := make([]float64, len(all))
	for i, s := range all {
		sum += s.rate
		latencies[i] = s.latency
	}
	mean := sum / float64(len(all))
	for _, s := range all {
		squares += (s.rate - mean) * (s.rate - mean)
	}
	deviation := math.Sqrt(squares / float64(len(all)))
	slices.Sort(latencies)
	median := latencies[len(latencies)/2]
	for _, s := range all {
		failing := cfg.deviations > 0 && s.rate < mean-cfg.deviations*deviation
		slow := cfg.slower > 0 && s.latency > cfg.slower*median
		if failing || slow {
			changed = b.ejectOne(s.endpoint, now) || changed
		}
	}
	return changed
}
