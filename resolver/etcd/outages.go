package etcd

import (
	"sync"
	"time"

	"google.golang.org/grpc/connectivity"
)

// longOutage is how long etcd must have been away for its leases to be in doubt,
// even if it has not yet ended them. They are of 15 s as a rule, and of 5 s at
// least.
const longOutage = 2 * time.Second

// outages follows the connection to etcd, because a watch of etcd's client says
// nothing when it breaks and is resumed.
type outages struct {
	once sync.Once

	mu   sync.Mutex    // guards what follows
	back chan struct{} // closed and replaced when the connection is back
	away time.Duration // how long it was away, the last time
	lost time.Time     // since when it is away; zero while it is there
}

// follow begins to follow the connection until the registry is closed. It needs
// a call to have begun.
func (o *outages) follow(r *Registry) {
	o.once.Do(func() { r.tasks.Go(func() { o.run(r) }) })
}

func (o *outages) run(r *Registry) {
	conn := r.client.ActiveConnection()
	for known := false; ; { // not before it was there once
		state := conn.GetState()
		if state == connectivity.Ready {
			if known { // also if it was away for less than a look
				o.returned()
			}
			known = true
		} else if known {
			o.gone()
		}
		if !conn.WaitForStateChange(r.ctx, state) {
			return
		}
	}
}

func (o *outages) gone() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost.IsZero() {
		o.lost = time.Now()
	}
}

func (o *outages) returned() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = 0
	if !o.lost.IsZero() {
		o.away, o.lost = time.Since(o.lost), time.Time{}
	}
	if o.back != nil {
		close(o.back)
		o.back = nil
	}
}

// next is closed when the connection is back from its next outage.
func (o *outages) next() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.back == nil {
		o.back = make(chan struct{})
	}
	return o.back
}

// since reports whether the connection was lost since back was next, and for how
// long. Events may be here before the connection is known to be back: those do not
// come over one that is lost, so it must be.
func (o *outages) since(back <-chan struct{}) (lost bool, away time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-back:
		return true, o.away
	default:
	}
	if o.lost.IsZero() {
		return false, 0
	}
	return true, time.Since(o.lost)
}
