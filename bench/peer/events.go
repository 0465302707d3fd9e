package peer

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

type publisher = func(ctx context.Context, key, value []byte) error

// events does the jobs of a client of Kafka.
type events struct {
	Peer

	config     Config
	publishers map[string]publisher // by topic
	groups     int
}

// ConsumeTopic is filled beforehand with events of a size.
func ConsumeTopic(size int) string { return fmt.Sprintf("consume-%d", size) }

// ConsumeCount is how many: 100 MB, or 300,000 of the small ones.
func ConsumeCount(size int) int { return min(300_000, 100<<20/size) }

func (e *events) job(job *Job) func(context.Context, *runner, int) error {
	if job.Kind == ConsumeJob {
		e.groups++
		return e.consume
	}
	topic := fmt.Sprintf("publish-%s-%d", e.config.Service, job.Size)
	var err error
	if e.publishers[topic] == nil {
		e.publishers[topic], err = e.Publisher(context.Background(), e.config, topic)
	}
	return func(ctx context.Context, r *runner, caller int) error {
		if err != nil {
			return err
		}
		return publish(ctx, r, caller, e.publishers[topic])
	}
}

func publish(ctx context.Context, r *runner, caller int, publish publisher) error {
	ctx, cancel := context.WithCancel(ctx) // one of its own, as a handler of a server has
	defer cancel()
	value, n := r.payload(), 0
	return r.loop(ctx, caller, func() error {
		n++
		return publish(ctx, strconv.AppendInt(nil, int64((n*r.Callers+caller)%1000), 10), value)
	})
}

// consume handles all that is in the topic, once. The time that joining the
// group takes is in it: a client may fetch a lot before it hands the first
// event over.
func (e *events) consume(ctx context.Context, r *runner, _ int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := e.Consume(ctx, e.config, ConsumeTopic(r.Size), fmt.Sprintf("%s-%d", e.config.Service, e.groups), func() {
		if r.calls.Add(1) == int64(ConsumeCount(r.Size)) {
			r.consumed.Store(int64(time.Since(r.start)))
			cancel()
		}
	})
	if ctx.Err() != nil {
		return nil // it was to end
	}
	return err
}
