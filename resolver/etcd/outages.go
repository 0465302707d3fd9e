package etcd

import (
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
}

// follow begins to follow the connection until the registry is closed. It needs
// a call to have begun.
func (o *outages) follow(r *Registry) {
	o.once.Do(func() { r.tasks.Go(func() { o.run(r) }) })
}

func (o *outages) run(r *Registry) {
	conn := r.client.ActiveConnection()
	var ready bool
	var lost time.Time
	for {
		state := conn.GetState()
		switch {
		case state == connectivity.Ready && !ready:
			if ready = true; !lost.IsZero() {
				o.returned(time.Since(lost))
			}
		case state == connectivity.Ready: // it was away for less than a look
			o.returned(0)
		case ready:
			ready, lost = false, time.Now()
		}
		if !conn.WaitForStateChange(r.ctx, state) {
			return
		}
	}
}

func (o *outages) returned(away time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = away
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

func (o *outages) last() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.away
}
