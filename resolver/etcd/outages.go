package etcd

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/connectivity"
)

// longOutage is how long etcd must have been away for its leases to be in doubt.
// They are of 15 s as a rule, and of 5 s at least.
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

// long returns an error if etcd was away for long since back was next. A watch
// looks before it believes an event: those that were missed may be here before the
// connection is known to be.
func (o *outages) long(back <-chan struct{}) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var away time.Duration
	select {
	case <-back:
		away = o.away
	default:
		if !o.lost.IsZero() {
			away = time.Since(o.lost)
		}
	}
	if away < longOutage {
		return nil
	}
	return fmt.Errorf("etcd was away for %v", away.Round(time.Millisecond))
}
