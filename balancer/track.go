package balancer

import (
	"sync"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tracking says what is learnt from calls. Nothing is unless somebody wants it:
// it costs more than the pick.
type tracking uint8

const (
	trackInFlight tracking = 1 << iota // Endpoint.InFlight
	trackLatency                       // Endpoint.Latency
	trackOutcome                       // what ejection looks at
	trackPicks                         // what Explain tells
	trackTotal                         // calls under way in the whole channel
)

// latencyConfig is how latencies are averaged: the part of a service config
// that every policy has as "latency".
type latencyConfig struct {
	decay   time.Duration // after which half of what is known is the newest
	penalty time.Duration // what a call counts for that failed at once
}

var defaultLatency = latencyConfig{decay: 5 * time.Second, penalty: time.Second}

// epoch is where times are counted from: they are int64, to be atomic.
var epoch = time.Now()

func nanotime() int64 { return int64(time.Since(epoch)) }

// flight is one call under way. Flights are reused, with their Done, so that
// knowing when a call began allocates nothing.
type flight struct {
	endpoint *Endpoint // nil: it has landed
	config   *config
	track    tracking
	started  int64
	done     func(grpcbalancer.DoneInfo)
}

var flights sync.Pool

func newFlight() *flight {
	f, ok := flights.Get().(*flight)
	if !ok {
		f = &flight{}
		f.done = f.land
	}
	return f
}

// begin notes that a call goes to the endpoint, and returns its Done.
func (e *Endpoint) begin(p *picker, c *call) func(grpcbalancer.DoneInfo) {
	e.inFlight.Add(1)
	if p.track&trackTotal != 0 {
		e.set.inFlight.Add(1)
	}
	if p.track&^(trackInFlight|trackTotal) == 0 {
		return e.done
	}
	f := newFlight()
	f.endpoint, f.config, f.track = e, p.config, p.track
	if c != nil && c.stream { // how long it lives is no latency
		f.track &^= trackLatency
	}
	if f.track&trackPicks != 0 {
		e.picks.Add(1)
	}
	if f.track&trackLatency != 0 {
		f.started = nanotime()
	}
	return f.done
}

// land is the Done of a call: grpc calls it once.
func (f *flight) land(info grpcbalancer.DoneInfo) {
	e, cfg, track, started := f.endpoint, f.config, f.track, f.started
	if e == nil {
		return
	}
	f.endpoint, f.config = nil, nil
	flights.Put(f)

	e.ended()
	if unused(info) {
		return
	}
	code := status.Code(info.Err)
	failed := info.Err != nil && cfg.isFailure(code, info)
	took := int64(0)
	if track&trackLatency != 0 {
		now := nanotime()
		took = now - started
		e.observe(now, took, cfg.latency, failed, code)
	}
	if track&trackOutcome != 0 && cfg.ejection != nil {
		e.outcome(failed, code, took, cfg.ejection)
	}
}

// ended counts a call in flight out again.
func (e *Endpoint) ended() {
	e.inFlight.Add(-1)
	if e.set.builder.track&trackTotal != 0 { // what a builder tracks, all its pickers do
		e.set.inFlight.Add(-1)
	}
}

// unused says that the pick was: its connection was lost when the call was to
// be sent there. grpc says so with an empty DoneInfo, which is no success.
func unused(info grpcbalancer.DoneInfo) bool {
	return info.Err == nil && !info.BytesSent && !info.BytesReceived && info.Trailer == nil
}

// isFailure reports whether a call's error is one of the instance, and not an
// answer of the application. A Function that has had its call refuses the next
// before its handler, and is none the worse.
func (c *config) isFailure(code codes.Code, info grpcbalancer.DoneInfo) bool {
	return c.failures&(1<<code) != 0 && len(info.Trailer.Get("micro-refused")) == 0
}

// oftenEnough bounds how often an average is written that only falls: 8,192 times
// in its decay. What was left out in between weighs as much as what comes then.
const oftenEnough = 13

// observe takes a latency into the average: a moving one that follows peaks at
// once and forgets them slowly (peak EWMA), because an instance that begins to
// be slow has to be known before the average has noticed. Two at the same time
// may count as one.
func (e *Endpoint) observe(now, took int64, cfg latencyConfig, failed bool, code codes.Code) {
	old := e.latency.Load()
	switch {
	case failed: // at once, perhaps, and nothing must look quick for that
		took = max(took, int64(cfg.penalty))
	case code == codes.Canceled || code == codes.DeadlineExceeded: // it would have taken longer
		took = max(took, old)
	}
	age := max(0, now-e.observed.Load())
	if old == 0 || took > old {
		e.observed.Store(now)
		e.latency.Store(max(took, 1))
		return
	}
	if age < int64(cfg.decay>>oftenEnough) {
		return
	}
	e.observed.Store(now)
	share := float64(age) / float64(age+int64(cfg.decay))
	e.latency.Store(max(old-int64(float64(old-took)*share), 1))
}
