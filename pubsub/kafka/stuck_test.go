package kafka_test

import (
	"context"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
)

// A handler does not come to an end, though its context does. The group does not
// wait for it: when the drain timeout is over its member lets go of the partition,
// and takes part in the next generation. Its message goes to the next owner, and is
// the only one that is handled again; that it ends after all means nothing.
func TestStuckHandler(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	r := newTrial(t, addrs, topic)
	r.watchOffsets()
	const drain = 200 * time.Millisecond
	var stuck atomic.Bool
	letGo, late := make(chan struct{}), make(chan struct{})
	handle := func(ctx context.Context, d *pubsub.Delivery) error {
		if string(d.Key) == "key7" && string(d.Value) != "7" && stuck.CompareAndSwap(false, true) {
			<-letGo
			defer close(late)
		}
		return r.l.handle(ctx, d)
	}
	one := r.join(handle, pubsub.WithDrainTimeout(drain))
	one.await()
	r.publish()
	wait.Until(t, "the handler to be stuck", stuck.Load)
	begin := time.Now()
	two := r.join(handle, pubsub.WithDrainTimeout(drain))
	two.await()
	took := time.Since(begin)
	again := r.end()
	if again != 0 {
		t.Errorf("%d messages were handled again before the stuck one was", again)
	}
	close(letGo)
	receive(t, late)
	if _, again := r.l.count(); again != 1 {
		t.Errorf("%d messages were handled again, want the stuck one", again)
	}
	one.cancel()
	receive(t, one.ended) // with an error or without, as the handler has ended or is about to
	two.leave()
	t.Logf("%d messages: the rebalance took %v, 1 message was handled again", r.total, took.Round(time.Millisecond))
	if took > 20*time.Second {
		t.Errorf("the rebalance took %v", took)
	}
}

// A member stands still, process and all, for longer than the session timeout, and
// then goes on as if nothing had happened. Meanwhile others have its partitions;
// what it handles and commits then is late: offsets do not go back, each key stays
// in order, and what is handled twice is what it had in hand.
func TestFrozenMember(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	r := newTrial(t, addrs, topic)
	session := "1s"
	if os.Getenv("KAFKA_BROKERS") != "" {
		session = "6s" // Kafka takes no less by default
	}
	r.watchOffsets()
	one := r.join(r.l.handle)
	one.await()
	frozen := start(t, "member", childAddrs+"="+addrs[0], childTopic+"="+topic, childSession+"="+session)
	relayed := newLedger()
	relayed.also = r.l
	frozen.relay(relayed)
	r.publish()
	r.reach(10)
	wait.Until(t, "messages for the member", func() bool { n, _ := relayed.count(); return n > 0 })
	frozen.signal(t, syscall.SIGSTOP)
	r.reach(60) // the publisher runs but some thousand messages ahead of what stands still
	_, again := r.l.count()
	before, _ := relayed.count() // what it had said when it was told to stop has been read by now
	frozen.signal(t, syscall.SIGCONT)
	all := r.end()
	one.leave()

	// It goes on, and alone.
	if err := r.b.Publish(t.Context(), numbered(topic, r.total, trialPartitions, trialKeys)...); err != nil {
		t.Fatal(err)
	}
	r.l.await(t, r.total+trialPartitions)
	its, _ := relayed.count()
	t.Logf("%d messages: the member handled %d until it stood still, and %d in all; %d were handled again meanwhile, %d in all", r.total, before, its, again, all)
	if again > before {
		t.Errorf("%d messages were handled again while the member stood still, and it had handled %d", again, before)
	}
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
