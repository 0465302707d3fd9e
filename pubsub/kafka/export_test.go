package kafka

import "time"

// Waiting returns how many messages are in the hands of the broker's senders.
func Waiting(b *Broker) int {
	n := 0
	eachSender(b, func(s *sender) {
		for _, e := range s.batch {
			if e != nil && e.state == sending {
				n++
			}
		}
		for e := s.first; e != nil; e = e.next {
			n++
		}
	})
	return n
}

// Queued returns how many bytes wait for a request.
func Queued(b *Broker) int {
	n := 0
	eachSender(b, func(s *sender) { n += s.queued })
	return n
}

// InFlight reports whether a request is under way.
func InFlight(b *Broker) bool {
	inFlight := false
	eachSender(b, func(s *sender) { inFlight = inFlight || s.inFlight })
	return inFlight
}

// Idle reports whether no sender has anything to do, batches that nobody waits for
// among it.
func Idle(b *Broker) bool {
	idle := true
	eachSender(b, func(s *sender) { idle = idle && !s.running })
	return idle
}

func eachSender(b *Broker, f func(*sender)) {
	b.topics.Range(func(_, t any) bool {
		if to := t.(*topic).to.Load(); to != nil {
			for _, s := range to.senders {
				s.mu.Lock()
				f(s)
				s.mu.Unlock()
			}
		}
		return true
	})
}

// WithMetadataTTL sets how often the metadata are read again for no reason.
func WithMetadataTTL(d time.Duration) Option { return func(o *options) { o.metadataTTL = d } }

// WithUnknownFor sets for how long a topic must be unknown before that is believed.
func WithUnknownFor(d time.Duration) Option { return func(o *options) { o.unknownFor = d } }

// WithGrowPause sets how often new partitions are looked for.
func WithGrowPause(d time.Duration) Option { return func(o *options) { o.growPause = d } }
