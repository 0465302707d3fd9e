package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// What one key that always fails does to a thousand others.

const poison = "poison"

var errPoisoned = errors.New("account 7 does not exist")

// timed measures how long messages take from the publish call to the handler.
type timed struct {
	began   []time.Time  // of each number, written before it is published
	failed  atomic.Int64 // tries of the poisoned key
	givesUp atomic.Bool  // its next one is the last

	mu   sync.Mutex // guards took
	took []time.Duration
}

func (m *timed) handle(_ context.Context, d *pubsub.Delivery) error {
	now := time.Now()
	if string(d.Key) == poison {
		m.failed.Add(1)
		if m.givesUp.Load() {
			return pubsub.Permanent(errPoisoned)
		}
		return errPoisoned
	}
	var n int
	if _, err := fmt.Sscan(string(d.Value), &n); err != nil {
		return pubsub.Permanent(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.took = append(m.took, now.Sub(m.began[n]))
	return nil
}

func (m *timed) handled() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.took)
}

// load publishes n messages of a thousand keys, two thousand a second, and returns
// how long each took when all are handled.
func (m *timed) load(t *testing.T, b pubsub.Broker, topic string, n int) []time.Duration {
	t.Helper()
	const publishers, keys = 8, 1000
	m.mu.Lock()
	m.began, m.took = make([]time.Time, n), nil
	m.mu.Unlock()
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			tick := time.NewTicker(publishers * time.Second / 2000)
			defer tick.Stop()
			for i := p; i < n; i += publishers {
				<-tick.C
				m.began[i] = time.Now()
				if err := b.Publish(t.Context(), message(topic, fmt.Sprint("key", i%keys), fmt.Sprint(i))); err != nil {
					t.Errorf("message %d: %v", i, err)
				}
			}
		})
	}
	publishing.Wait()
	wait.Until(t, "all of the other keys", func() bool { return m.handled() == n })
	return m.took
}

func quantile(d []time.Duration, q float64) time.Duration {
	slices.Sort(d)
	return d[int(q*float64(len(d)-1))]
}

// stateOf returns the state of the only subscription of a topic.
func stateOf(topic string) (s pubsub.SubscriptionState) {
	for _, s := range pubsub.Subscriptions() {
		if s.Topic == topic {
			return s
		}
	}
	return s
}

// One key of a thousand fails, and is tried again for longer than the load takes.
// As long as what its partition gets meanwhile fits into the window, the others
// do not wait for it: all of them are handled before it comes to an end, as a dead
// letter. Nor do they take much longer than without it.
//
//nolint:paralleltest // it measures time
func TestPoisonedKeyInsideTheWindow(t *testing.T) {
	const rounds, each = 3, 1500 // which is 0.75 s, and some 400 a partition
	addrs, topic := cluster(t)
	b := newBroker(t, addrs)
	var m timed
	joined(t, b, topic, topic, m.handle, pubsub.WithWindow(2000), pubsub.WithDeadLetter(),
		pubsub.WithRetry(pubsub.RetryPolicy{Attempts: -1, InitialBackoff: 100 * time.Millisecond, MaxBackoff: 400 * time.Millisecond}))
	m.load(t, b, topic, each) // connects, and makes the lanes
	var without, with []time.Duration
	tries := int64(0)
	for round := range rounds {
		without = append(without, m.load(t, b, topic, each)...)
		m.givesUp.Store(false)
		began := m.failed.Load()
		if err := b.Publish(t.Context(), message(topic, poison, "x")); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, "the poisoned one to fail", func() bool { return m.failed.Load() > began })
		with = append(with, m.load(t, b, topic, each)...) // and it is in retry still
		tries += m.failed.Load() - began
		m.givesUp.Store(true)
		wait.Until(t, "the dead letter", func() bool { return stateOf(topic).DeadLetters == int64(round+1) })
	}
	p50, p99 := quantile(without, 0.5), quantile(without, 0.99)
	bad50, bad99 := quantile(with, 0.5), quantile(with, 0.99)
	t.Logf("other keys without a poisoned one: p50 %v, p99 %v; with one that was tried %d times meanwhile: %v (×%.2f), %v (×%.2f)", p50.Round(time.Microsecond), p99.Round(time.Microsecond),
		tries/rounds, bad50.Round(time.Microsecond), float64(bad50)/float64(p50), bad99.Round(time.Microsecond), float64(bad99)/float64(p99))
	if bad50 > 2*p50+50*time.Millisecond || bad99 > 2*p99+200*time.Millisecond {
		t.Error("the other keys are slower with a poisoned one beside them")
	}
}

// When the window of its partition is full, the partition stops behind the
// poisoned message, and no other one does; the state and the log say why. It goes
// on when the message is a dead letter, which has the cause, and is handled when
// what was wrong is mended.
func TestPoisonedKeyBeyondTheWindow(t *testing.T) {
	t.Parallel()
	const window, total, partitions = 50, 400, 4
	addrs, topic := cluster(t)
	b := newBroker(t, addrs, kafka.WithAutoCreate(partitions, 1))
	var logged wait.Log
	var givesUp, mended atomic.Bool
	// Before it is read: a partition that is stopped knows of its end what it was told last.
	if err := b.Publish(t.Context(), append([]*pubsub.Message{message(topic, poison, "1000")}, numbered(topic, 0, total, 100)...)...); err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	dead := topic + "." + topic + ".dead" // a group of its own, too: on a real cluster there are others
	joined(t, b, topic, topic, func(ctx context.Context, d *pubsub.Delivery) error {
		switch {
		case string(d.Key) != poison || mended.Load():
			return l.handle(ctx, d)
		case givesUp.Load():
			return pubsub.Permanent(errPoisoned)
		}
		return errPoisoned
	}, pubsub.WithWindow(window), pubsub.WithDeadLetter(), pubsub.WithStallAfter(100*time.Millisecond),
		pubsub.WithRetry(pubsub.RetryPolicy{Attempts: -1, MaxBackoff: 100 * time.Millisecond}),
		pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	var stopped pubsub.PartitionState
	wait.Until(t, "one partition to be stopped, and the others to be handled", func() bool {
		handled, n := 0, 0
		for _, p := range stateOf(topic).Partitions {
			if p.Stalled && p.Blocked > 0 && p.Window() == window && p.Pending == 1 {
				stopped = p
				n++
			} else if p.Lag() == 0 {
				handled++
			}
		}
		return n == 1 && handled == partitions-1
	})
	wait.Until(t, "the log to say why", func() bool { return strings.Contains(logged.String(), "its window is full (WithWindow)") })
	handled, _ := l.count()
	if behind := int(stopped.Lag()) - 1; handled+behind != total || behind == 0 {
		t.Errorf("%d messages are handled and %d are behind the poisoned one, want %d", handled, behind, total)
	}
	t.Logf("window of %d: partition %d is stopped with a lag of %d, %d of %d messages are handled", window, stopped.Partition, stopped.Lag(), handled, total)

	givesUp.Store(true)
	l.await(t, total)
	wait.Until(t, "the log to say that the partition goes on", func() bool { return strings.Contains(logged.String(), "partition goes on") })
	letters := make(chan *pubsub.Message, 1)
	joined(t, b, dead, topic+".look", func(_ context.Context, d *pubsub.Delivery) error {
		letters <- d.Message
		return nil
	})
	letter := receive(t, letters)
	why, ok := pubsub.DeadLetterOf(letter)
	if !ok || string(letter.Key) != poison || string(letter.Value) != "1000" || why.Cause != errPoisoned.Error() || why.Attempts < 2 ||
		why.Topic != topic || why.Group != topic || why.Partition != stopped.Partition || why.Offset != stopped.Next {
		t.Errorf("the dead letter is %+v, of %+v", letter, why)
	}

	mended.Store(true)
	redriven := 0
	wait.Until(t, "the dead letter to be redriven", func() bool { // once it is there within the time that is idle
		n, err := pubsub.Redrive(t.Context(), b, dead, pubsub.WithRedriveIdle(500*time.Millisecond), pubsub.WithRedriveLogger(quiet))
		if err != nil {
			t.Fatal(err)
		}
		redriven += n
		return redriven > 0
	})
	if redriven != 1 {
		t.Errorf("%d dead letters were redriven", redriven)
	}
	l.await(t, total+1)
	if _, again := l.count(); again != 0 {
		t.Errorf("%d messages were handled again", again)
	}
}

// A key waits out a long backoff. That is no concern of a rebalance: a drain that
// waited for it would take longer than the test waits for anything.
func TestRebalanceDuringBackoff(t *testing.T) {
	t.Parallel()
	const rounds, backoff = 3, time.Minute
	addrs, topic := cluster(t)
	b := newBroker(t, addrs)
	var took [2]time.Duration // without, and with a key in backoff
	for round := range rounds {
		for i := range took {
			name := fmt.Sprintf("%s.%d.%d", topic, round, i)
			retry, drain := pubsub.WithRetry(pubsub.RetryPolicy{InitialBackoff: backoff, MaxBackoff: backoff}), pubsub.WithDrainTimeout(backoff)
			var failed atomic.Int64
			handle := func(_ context.Context, d *pubsub.Delivery) error {
				if string(d.Key) == poison {
					failed.Add(1)
					return errPoisoned
				}
				return nil
			}
			one := joined(t, b, name, name, handle, retry, drain)
			msgs := numbered(name, 0, 100, 100)
			if i == 1 {
				msgs = append(msgs, message(name, poison, "x"))
			}
			if err := b.Publish(t.Context(), msgs...); err != nil {
				t.Fatal(err)
			}
			wait.Until(t, "what can be handled", func() bool {
				s := stateOf(name)
				return s.Handled == 100 && s.Running == 0 && failed.Load() == int64(i)
			})
			began := time.Now()
			two := joined(t, b, name, name, handle, retry, drain)
			one.leave()
			wait.Until(t, "the other one to have all partitions", func() bool { return len(stateOf(name).Partitions) == 4 })
			took[i] += time.Since(began)
			two.leave()
		}
	}
	t.Logf("a member joins and another leaves: %v without, %v with a key in a backoff of %v", (took[0] / rounds).Round(time.Millisecond), (took[1] / rounds).Round(time.Millisecond), backoff)
	if took[1] > 3*took[0]+rounds*2*time.Second {
		t.Error("rebalances take longer with a key in backoff")
	}
}
