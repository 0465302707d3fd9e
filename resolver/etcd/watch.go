package etcd

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/grpc-micro/micro/resolver"
)

// Watch implements resolver.Discovery. It lists what there is, which blocks on
// etcd for at most 5 s, whatever the deadline of ctx; the list is linearizable,
// and events follow it without a gap. A watch whose etcd has lost its leader, or
// has compacted away the events to come, ends with an error.
func (r *Registry) Watch(ctx context.Context, service string) iter.Seq2[[]*resolver.Instance, error] {
	return func(yield func([]*resolver.Instance, error) bool) {
		if err := resolver.ValidateService(service); err != nil {
			yield(nil, err)
			return
		}
		err := r.watch(ctx, service, yield)
		switch {
		case err == nil || ctx.Err() != nil:
		case r.ctx.Err() != nil:
			yield(nil, resolver.ErrClosed)
		default:
			yield(nil, err)
		}
	}
}

// watch returns nil when yield has had enough.
//
// It lists once, and from then on hears of each change. Two things can go wrong
// without an error from etcd's client, which resumes a watch by itself: the store
// may have been replaced, and etcd may have been away for so long that leases
// ended for no other reason. The first is looked for now and then, and whenever
// etcd is back; the second ends the watch before it yields what was lost, so that
// whoever ranges again knows of an outage.
func (r *Registry) watch(ctx context.Context, service string, yield func([]*resolver.Instance, error) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()

	back := r.outages.next()
	v := newView(r, service)
	err := v.list(ctx)
	if err != nil {
		return err
	}
	if !yield(v.instances, nil) {
		return nil
	}
	check := time.NewTimer(jittered(r.compare))
	defer check.Stop()
	events, stream := v.follow(ctx)
	for quiet := true; ; { // until the first event
		var changed bool
		select {
		case res, ok := <-events:
			if quiet && res.Err() != nil && r.streams.renew(stream, res.Err()) {
				events, stream = v.follow(ctx)
				continue
			}
			quiet = false
			if back, err = v.survived(ctx, back); err == nil {
				changed, err = v.take(res, ok, events)
			}
		case <-back:
			back, err = v.survived(ctx, back)
		case <-check.C:
			var again time.Duration
			again, err = v.check(ctx, false)
			check.Reset(again)
		}
		if err != nil {
			return fmt.Errorf("etcd: watch %s: %w", service, err)
		}
		if changed && !yield(v.instances, nil) {
			return nil
		}
	}
}
