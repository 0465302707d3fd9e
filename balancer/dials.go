package balancer

import "time"

const (
	// maxDials bounds how many connects are under way at once: enough to keep
	// any network busy, few enough that ten thousand TLS handshakes do not
	// starve the calls of the process.
	maxDials = 256

	// dialWave is how long a connect counts against maxDials. A connect to a
	// host that is gone takes 20 s to fail, and 256 of those must not keep the
	// instances that are there waiting.
	dialWave = 250 * time.Millisecond
)

// dials decides whose turn it is to connect. It is part of endpointSet, whose
// mu guards it and the fields of Endpoint that are used here.
//
// The bound starves nobody: an instance that a call waits for connects at
// once, whatever is under way. Attempts after a failed one are not queued here:
// they are pick_first's, and each comes after a backoff of its own.
type dials struct {
	queue  []*Endpoint // in the order in which they came
	urgent []*Endpoint // a call waits for one of these; they are in queue, too

	// Connects are counted in waves: those of an earlier wave do not count.
	wave     int
	ends     time.Time // of the wave
	underWay int
}

func (d *dials) add(e *Endpoint) {
	if !e.queued {
		e.queued = true
		d.queue = append(d.queue, e)
	}
}

func (d *dials) hurry(e *Endpoint) {
	if e.queued && !e.urgent {
		e.urgent = true
		d.urgent = append(d.urgent, e)
	}
}

// end notes that an endpoint is connected, or will not be for now.
func (d *dials) end(e *Endpoint) {
	if e.wave == d.wave {
		d.underWay--
	}
	e.wave = 0
}

// ready reports whether an endpoint may connect now, without waiting for the
// next wave.
func (d *dials) ready() bool {
	return len(d.urgent) > 0 || len(d.queue) > 0 && d.underWay < maxDials
}

// next returns the endpoints to connect now and, if there are others, when to
// ask again.
func (d *dials) next(now time.Time) (batch []*Endpoint, again time.Time) {
	for _, e := range d.urgent {
		batch = d.start(e, batch)
	}
	d.urgent = nil
	if len(d.queue) > 0 && !now.Before(d.ends) {
		d.wave++
		d.underWay = 0
		d.ends = now.Add(dialWave)
	}
	for len(d.queue) > 0 && d.underWay < maxDials {
		batch = d.start(d.queue[0], batch)
		d.queue = d.queue[1:]
	}
	if len(d.queue) > 0 {
		again = d.ends
	}
	return batch, again
}

func (d *dials) start(e *Endpoint, batch []*Endpoint) []*Endpoint {
	if !e.queued || e.removed {
		return batch
	}
	e.queued, e.urgent = false, false
	e.wave = d.wave
	d.underWay++
	return append(batch, e)
}

// run connects whose turn it is and publishes what was held back, until Close:
// on a goroutine of its own, which holds no pick_first's lock.
func (b *endpointSet) run() {
	defer close(b.stopped)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		batch, next := b.turn(time.Now())
		for _, e := range batch {
			e.connect()
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-b.wake:
		case <-timer.C:
		case <-b.done:
			return
		}
	}
}

// turn does what is due, and returns the endpoints to connect and when to come
// again; zero: when woken.
func (b *endpointSet) turn(now time.Time) (batch []*Endpoint, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, next
	}
	if !b.due.IsZero() && !now.Before(b.due) {
		b.publish()
	}
	batch, next = b.dials.next(now)
	if again := b.eject(now); !again.IsZero() && (next.IsZero() || again.Before(next)) {
		next = again
	}
	if !b.due.IsZero() && (next.IsZero() || b.due.Before(next)) {
		next = b.due
	}
	return batch, next
}

func (b *endpointSet) wakeUp() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// hurry lets endpoints connect that a call is waiting for.
func (b *endpointSet) hurry(idle []*Endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if len(idle) > 0 && !idle[0].joined.Load() {
		b.joinOnDemand(idle)
	}
	for _, e := range idle {
		b.dials.hurry(e)
	}
	if len(b.dials.urgent) > 0 {
		b.wakeUp()
	}
}
