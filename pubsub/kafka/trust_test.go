package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// What happens to the messages of many keys while members come and go, servers
// die and leaders move. MICRO_KAFKA_MESSAGES sets how many there are in each
// test; the gate takes 100,000.

// trial is a topic, what is published to it, and what becomes of that.
type trial struct {
	*testing.T

	addrs     []string
	topic     string
	total     int
	b         *kafka.Broker
	l         *ledger
	delivered atomic.Int64 // by members in this process
	published chan error
}

const (
	trialKeys       = 500
	trialPartitions = 12
)

func newTrial(t *testing.T, addrs []string, topic string) *trial {
	t.Helper()
	r := &trial{T: t, addrs: addrs, topic: topic, total: 10_000, l: newLedger(), published: make(chan error, 1)}
	if env := os.Getenv("MICRO_KAFKA_MESSAGES"); env != "" {
		n, err := strconv.Atoi(env)
		if err != nil {
			t.Fatalf("MICRO_KAFKA_MESSAGES=%s: give a number", env)
		}
		r.total = n
	}
	// Servers that die, and others in this process, leave little time to those that answer.
	r.b = newBroker(t, addrs, kafka.WithAutoCreate(trialPartitions, 1), kafka.WithConnectTimeout(wait.Patience))
	return r
}

// publish publishes in the background, some thousand messages ahead of what is
// handled.
func (r *trial) publish() {
	go func() {
		const batch, ahead = 100, 2000
		for n := 0; n < r.total; n += batch {
			for tick := time.Tick(time.Millisecond); ; {
				if handled, _ := r.l.count(); n-handled < ahead {
					break
				}
				select {
				case <-tick:
				case <-r.Context().Done():
					r.published <- r.Context().Err()
					return
				}
			}
			if err := r.b.Publish(r.Context(), numbered(r.topic, n, min(batch, r.total-n), trialKeys)...); err != nil {
				r.published <- fmt.Errorf("message %d: %w", n, err)
				return
			}
		}
		r.published <- nil
	}()
}

// join has another member join the group, which has the topic's name: on a real
// cluster there are others, and those who share one wait for each other.
func (r *trial) join(h pubsub.Handler, opts ...pubsub.SubscribeOption) *member {
	count := func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			if d.Attempt == 1 {
				r.delivered.Add(1)
			}
			return next(ctx, d)
		}
	}
	first := []pubsub.SubscribeOption{pubsub.WithMiddleware(count), pubsub.WithWindow(r.total), pubsub.WithConcurrency(64)} // Dedup would keep repeats from it
	return join(r, r.b, r.topic, r.topic, h, append(first, opts...)...)
}

// reach waits until so many percent of the messages are handled.
func (r *trial) reach(percent int) {
	r.Helper()
	r.l.await(r, r.total*percent/100)
}

// end waits for all messages, and says how many were handled again.
func (r *trial) end() (again int) {
	r.Helper()
	for published := false; !published; { // however long that takes as long as it goes on
		before, _ := r.l.count()
		wait.Within(r, r.l.patience, "the rest to be published", func() bool {
			select {
			case err := <-r.published:
				if err != nil {
					r.Fatal(err)
				}
				published = true
			default:
			}
			now, _ := r.l.count()
			return published || now > before
		})
	}
	r.l.await(r, r.total)
	handled, again := r.l.count()
	if handled != r.total {
		r.Errorf("%d of %d messages were handled", handled, r.total)
	}
	return again
}

// inLog returns how many messages the topic holds.
func (r *trial) inLog() int {
	r.Helper()
	c, hangUp := dialed(r.addrs, time.Second)
	defer hangUp()
	var ends []kafkago.OffsetRequest
	for p := range trialPartitions {
		ends = append(ends, kafkago.LastOffsetOf(p))
	}
	n := 0
	wait.Until(r, "the end of every partition", func() bool { // one that changes hands has none for a moment
		offsets, err := c.ListOffsets(r.Context(), &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{r.topic: ends}})
		if err != nil || len(offsets.Topics[r.topic]) != trialPartitions {
			return false
		}
		n = 0
		for _, p := range offsets.Topics[r.topic] {
			if p.Error != nil {
				return false
			}
			n += int(p.LastOffset)
		}
		return true
	})
	return n
}

// Members 1, 3, 2, with one key in backoff all the time: planned rebalances lose
// and repeat nothing, because what is finished behind the waiting key is in the
// metadata of the commits.
func TestPlannedRebalances(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	r := newTrial(t, addrs, topic)
	var cured atomic.Bool
	handle := func(ctx context.Context, d *pubsub.Delivery) error {
		if string(d.Key) == "key7" && !cured.Load() {
			return errors.New("not yet")
		}
		return r.l.handle(ctx, d)
	}
	retry := pubsub.WithRetry(pubsub.RetryPolicy{InitialBackoff: 10 * time.Millisecond, MaxBackoff: 100 * time.Millisecond})
	one := r.join(handle, retry)
	r.publish()
	r.reach(20)
	two, three := r.join(handle, retry), r.join(handle, retry)
	two.await()
	three.await()
	r.reach(50)
	one.leave()
	r.reach(99)
	cured.Store(true)
	again := r.end()
	two.leave()
	three.leave()
	if again != 0 {
		t.Errorf("%d messages were handled again", again)
	}

	// Nothing is left for the next one.
	r.join(handle).await()
	if err := r.b.Publish(t.Context(), numbered(topic, r.total, trialPartitions, trialKeys)...); err != nil {
		t.Fatal(err)
	}
	r.l.await(t, r.total+trialPartitions)
	if _, again := r.l.count(); again != 0 {
		t.Errorf("%d messages were left, and handled again", again)
	}
}

// The broker is killed, and started again on its data, twice. Nothing is lost
// and each key stays in order. Twice in the log is what a request held whose
// answer was lost; delivered again is that, and what was finished since the last
// commit; with Dedup nothing of it is handled again.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	addr, dir := closedPort(t), t.TempDir()
	broker := func() *process { return start(t, "broker", childAddrs+"="+addr, childDir+"="+dir) }
	k := broker()
	r := newTrial(t, []string{addr}, "t")
	dedup := pubsub.WithMiddleware(pubsub.Dedup(pubsub.NewDedupMemory(r.total, time.Hour)))
	one, two := r.join(r.l.handle, dedup), r.join(r.l.handle, dedup)
	r.publish()
	for _, percent := range []int{30, 60} {
		r.reach(percent)
		k.kill()
		k = broker()
	}
	again, twice := r.end(), r.inLog()-r.total
	wait.Until(t, "all deliveries", func() bool { return int(r.delivered.Load()) >= r.total+twice })
	one.leave()
	two.leave()
	if again != 0 {
		t.Errorf("%d messages were handled again", again)
	}
	repeated := int(r.delivered.Load()) - r.total
	t.Logf("%d messages: %d are twice in the log; %d were delivered again, %d of them for the first reason", r.total, twice, repeated, twice)
	if twice < 0 {
		t.Errorf("the log lacks %d messages", -twice)
	}
}

// A member is killed. The others get its partitions after the session timeout,
// and repeat what it had handled since its last commit, a quarter of a second's
// work, and no more.
func TestMemberKilled(t *testing.T) {
	t.Parallel()
	addrs, topic := cluster(t)
	r := newTrial(t, addrs, topic)
	session := "1s"
	if os.Getenv("KAFKA_BROKERS") != "" {
		session = "6s" // Kafka takes no less by default
	}
	one := r.join(r.l.handle)
	one.await()
	victim := start(t, "member", childAddrs+"="+addrs[0], childTopic+"="+topic, childSession+"="+session)
	relayed := newLedger()
	relayed.also = r.l
	victim.relay(relayed)
	r.publish()
	r.reach(40)
	wait.Until(t, "messages for the member", func() bool { n, _ := relayed.count(); return n > 0 })
	victim.kill()
	again := r.end()
	one.leave()
	its, _ := relayed.count()
	t.Logf("%d messages: the member that was killed handled %d, and %d of them were handled again", r.total, its, again)
	if again > its {
		t.Errorf("%d messages were handled again, and the member had handled %d", again, its)
	}
}

// Leaders of partitions and the coordinator of the group move, again and again.
func TestLeadersMove(t *testing.T) {
	t.Parallel()
	k := startKafka(t, dev.WithBrokers(3))
	r := newTrial(t, k.Addrs(), "t")
	one, two := r.join(r.l.handle), r.join(r.l.handle)
	r.publish()
	for percent := 10; percent < 100; percent += 10 {
		r.reach(percent)
		k.Cluster().ShufflePartitionLeaders()
		if percent == 50 {
			k.Cluster().RehashCoordinators()
		}
	}
	again := r.end()
	one.leave()
	two.leave()
	twice := r.inLog() - r.total
	t.Logf("%d messages: %d are twice in the log, %d were handled again", r.total, twice, again)
	if twice < 0 {
		t.Errorf("the log lacks %d", -twice)
	}
}
