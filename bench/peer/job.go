package peer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Job is what a client does for a while: many callers, each with one call, one
// message of its stream, or one event at a time.
type Job struct {
	Kind     Kind
	Size     int // of the payload, in bytes
	Callers  int
	Duration time.Duration
	Deadline time.Duration // of each unary call; 0: none
	Rate     float64       // calls a second, over all callers; 0: as many as they can
	Count    int           // of the streams, instances, picks and changes of the jobs that have them
}

// Kind is what a call is.
type Kind string

// The kinds of jobs.
const (
	UnaryJob   Kind = "unary"   // a call
	StreamJob  Kind = "stream"  // a message to and fro, on one stream a caller
	PublishJob Kind = "publish" // an event, published and acknowledged
	ConsumeJob Kind = "consume" // an event that is handled by one member of a group, until there are no more

	OpenJob   Kind = "open"   // a stream, opened and left open; Duration is the longest that all may take
	ReadyJob  Kind = "ready"  // one wait until all instances are ready; Duration is the longest
	PickJob   Kind = "pick"   // an instance, picked and not called
	ChangeJob Kind = "change" // a change of one instance; they are spread over Duration
)

// Result is what came of it.
type Result struct {
	Calls   int64
	Elapsed time.Duration
	Times   Times
	Error   string `json:",omitempty"`
}

// callTimeout bounds a call that nothing else does, so that a peer that hangs
// shows as an error.
const callTimeout = 30 * time.Second

// run lets the callers call do for as long as the job says. An error ends it:
// no row may be quick by failing.
func (j *Job) run(ctx context.Context, do func(ctx context.Context, r *runner, caller int) error) *Result {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := runner{Job: j, start: time.Now()}
	r.end = r.start.Add(j.Duration)
	hung := time.AfterFunc(j.Duration+callTimeout, func() { cancel(errors.New("a call did not end")) })
	defer hung.Stop()
	var callers sync.WaitGroup
	for i := range j.Callers {
		callers.Go(func() {
			if err := do(ctx, &r, i); err != nil {
				cancel(err)
			}
		})
	}
	callers.Wait()
	result := &Result{Calls: r.calls.Load(), Elapsed: time.Since(r.start), Times: r.times.times()}
	if d := r.consumed.Load(); d > 0 {
		result.Elapsed = time.Duration(d)
	}
	if err := context.Cause(ctx); err != nil {
		result.Error = err.Error()
	}
	return result
}

// runner is a job under way.
type runner struct {
	*Job

	start, end time.Time
	calls      atomic.Int64
	consumed   atomic.Int64 // nanoseconds until all was; 0: it is no such job
	times      histogram
}

// loop makes one call after the other until the job ends.
func (r *runner) loop(ctx context.Context, caller int, call func() error) error {
	calls := int64(0)
	defer func() { r.calls.Add(calls) }()
	for due := r.first(caller); due.Before(r.end) && ctx.Err() == nil; {
		time.Sleep(time.Until(due))
		if err := call(); err != nil {
			return err
		}
		end := time.Now()
		r.times.add(caller, end.Sub(due))
		calls++
		due = r.next(due, end)
	}
	return nil
}

// first returns when the first call is due: callers with a rate begin one after
// the other.
func (r *runner) first(caller int) time.Time {
	if r.Rate == 0 {
		return r.start
	}
	return r.start.Add(time.Duration(float64(caller) / r.Rate * float64(time.Second)))
}

// next returns when the call after the one of due is due. With a rate that does
// not depend on how long calls take, and latency counts from when a call was
// due: a peer that is late pays for it.
func (r *runner) next(due, end time.Time) time.Time {
	if r.Rate == 0 {
		return end
	}
	return due.Add(time.Duration(float64(r.Callers) / r.Rate * float64(time.Second)))
}

func (r *runner) payload() []byte {
	b := make([]byte, r.Size)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}
