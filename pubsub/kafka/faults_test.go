package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// The broker is stopped and started again on its data while messages are
// published and handled: none is lost, and each key stays in order. The group
// does not wait for the member that was cut off, which would take the session
// timeout.
func TestBrokerRestart(t *testing.T) {
	t.Parallel()
	const keys = 20
	dir, addr := t.TempDir(), closedPort(t)
	start := func() *dev.Kafka {
		k, err := dev.StartKafka(t.Context(), dev.WithDataDir(dir), dev.WithAddress(addr))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := start()
	defer func() { k.Close() }()
	b := newBroker(t, []string{addr}, kafka.WithSessionTimeout(2*time.Minute)) // nobody waits for the end of one
	l := newLedger()
	m := joined(t, b, "t", "g", l.handle)

	published, stop, stopped := make(chan int, 1_000_000), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := b.Publish(t.Context(), numbered("t", n, 1, keys)...); err != nil { // with the default timeout, so once is enough
				t.Errorf("message %d was not published: %v", n, err)
				return
			}
			published <- n
		}
	}()
	t.Cleanup(func() { <-stopped }) // which the end of the context sees to
	for range 2 {
		l.await(t, len(published)+100)
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		k = start()
		up := time.Now()
		l.await(t, len(published)+100)
		if took := time.Since(up); took > 10*time.Second {
			t.Errorf("it took %v until messages were handled again", took)
		}
	}
	close(stop)
	receive(t, stopped)
	l.await(t, len(published))
	m.leave()
	_, again := l.count()
	t.Logf("%d messages, %d handled again, by the publisher's second tries and by what was finished since the last commit", len(published), again)
}

// A member dies: it says nothing more to the group, and commits nothing. The
// others get its messages after the session timeout, without those that it had
// committed.
func TestMemberDies(t *testing.T) {
	t.Parallel()
	const half = 1000
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithSessionTimeout(5*time.Second))
	l := newLedger()
	victim := joined(t, b, "t", "g", l.handle)
	if err := b.Publish(t.Context(), numbered("t", 0, half, 100)...); err != nil {
		t.Fatal(err)
	}
	_, err := k.Cluster().WaitGroupInfo(t.Context(), "g", func(g *kfake.GroupInfo) bool {
		committed := int64(0)
		for _, c := range g.Commits["t"] {
			committed += c.Offset
		}
		return committed == half
	})
	if err != nil {
		t.Fatal(err)
	}
	// Its heartbeats are let through, until it has left: without them it would come back.
	dead := k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit, kmsg.LeaveGroup}, Err: kerr.UnknownMemberID, Count: -1})
	if err := b.Publish(t.Context(), numbered("t", half, half, 100)...); err != nil {
		t.Fatal(err)
	}
	l.await(t, half+half/2)
	victim.leave()
	dead.Remove()
	before, _ := l.count()
	if err := b.Publish(t.Context(), numbered("t", 2*half, 100, 100)...); err != nil { // one behind each key's others
		t.Fatal(err)
	}
	other := joined(t, newBroker(t, k.Addrs()), "t", "g", l.handle)
	l.await(t, 2*half+100)
	other.leave()
	if _, again := l.count(); again != before-half {
		t.Errorf("%d handled again, and %d were not committed", again, before-half)
	}
}

// Leaders move while messages are published and handled.
func TestMovedLeaders(t *testing.T) {
	t.Parallel()
	const total, keys = 4000, 50
	k := startKafka(t, dev.WithBrokers(3))
	b := newBroker(t, k.Addrs())
	l := newLedger()
	m := joined(t, b, "t", "g", l.handle)
	for n := 0; n < total; n += 200 {
		if n%800 == 400 {
			k.Cluster().ShufflePartitionLeaders()
		}
		if n == 2000 {
			k.Cluster().RehashCoordinators()
		}
		if err := b.Publish(t.Context(), numbered("t", n, 200, keys)...); err != nil {
			t.Fatal(err)
		}
	}
	l.await(t, total)
	m.leave()
	if _, again := l.count(); again != 0 {
		t.Logf("%d handled again", again)
	}
}

// Each request of a consumer fails now and then, and nothing is lost.
func TestConsumerFaults(t *testing.T) {
	t.Parallel()
	const total = 2000
	k := startKafka(t)
	b := newBroker(t, k.Addrs())
	for _, fault := range []struct {
		key kmsg.Key
		err *kerr.Error
	}{
		{kmsg.FindCoordinator, kerr.CoordinatorNotAvailable},
		{kmsg.JoinGroup, kerr.NotCoordinator},
		{kmsg.SyncGroup, kerr.RebalanceInProgress},
		{kmsg.OffsetFetch, kerr.CoordinatorLoadInProgress},
		{kmsg.ListOffsets, kerr.NotLeaderForPartition},
		{kmsg.Fetch, kerr.NotLeaderForPartition},
		{kmsg.Fetch, kerr.UnknownServerError},
		{kmsg.Heartbeat, kerr.UnknownMemberID},
		{kmsg.OffsetCommit, kerr.OffsetMetadataTooLarge},
		{kmsg.OffsetCommit, kerr.CoordinatorNotAvailable},
	} {
		k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{fault.key}, Err: fault.err, Count: 2})
	}
	l := newLedger()
	m := joined(t, b, "t", "g", l.handle)
	if err := b.Publish(t.Context(), numbered("t", 0, total, 100)...); err != nil {
		t.Fatal(err)
	}
	l.await(t, total)
	m.leave()
	l = newLedger()
	joined(t, b, "t", "g", l.handle)
	if err := b.Publish(t.Context(), numbered("t", total, 10, 100)...); err != nil {
		t.Fatal(err)
	}
	l.await(t, 10)
	if handled, _ := l.count(); handled != 10 {
		t.Errorf("%d messages after a clean stop, want the 10 new ones", handled)
	}
}

// A group that may not be joined is an error at once, not a loop.
func TestGroupRefused(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs())
	for _, key := range []kmsg.Key{kmsg.JoinGroup, kmsg.OffsetFetch} {
		fault := k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.GroupAuthorizationFailed, Count: -1, TopLevel: true})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := b.Subscribe(ctx, "t", "g", newLedger().handle)
		cancel()
		if !errors.Is(err, kafkago.GroupAuthorizationFailed) || !strings.Contains(err.Error(), "group g") {
			t.Errorf("%s: Subscribe = %v", key.Name(), err)
		}
		fault.Remove()
	}
}

// The network is cut while a message is on its way, and heals.
func TestConnectionsCut(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithAutoCreate(1, 1))
	cut := 0
	k.Cluster().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if cut++; cut%2 == 1 {
			k.Cluster().KeepControl()
			return nil, net.ErrClosed, true // closes the connection
		}
		return nil, nil, false
	})
	for i := range 5 {
		if err := b.Publish(t.Context(), message("t", "k", fmt.Sprint(i))); err != nil {
			t.Error(err)
		}
	}
}

// A member that the network has cut off comes back by a new name, and sees to it
// that the group does not wait for the old one, which would take the session
// timeout. What it had in hand it may do again, and nothing is lost.
func TestMemberCutOff(t *testing.T) {
	t.Parallel()
	var network network
	addr := startFake(t, kfake.ListenFn(network.listen))
	b := newBroker(t, []string{addr}, kafka.WithAutoCreate(4, 1), kafka.WithSessionTimeout(time.Minute))
	l := newLedger()
	var logged wait.Log
	m := joined(t, b, "t", "g", l.handle, pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	if err := b.Publish(t.Context(), numbered("t", 0, 100, 10)...); err != nil {
		t.Fatal(err)
	}
	l.await(t, 100)
	network.cut()
	wait.Until(t, "the log to say that the member is cut off from the group", func() bool { // and has, or has not, committed before
		return strings.Contains(logged.String(), "not in the group") || strings.Contains(logged.String(), "positions are not committed")
	})
	network.heal()
	healed := time.Now()
	if err := b.Publish(t.Context(), numbered("t", 100, 100, 10)...); err != nil {
		t.Fatal(err)
	}
	l.await(t, 200)
	if took := time.Since(healed); took > 10*time.Second {
		t.Errorf("it took %v until messages were handled again", took)
	}
	m.leave()
}

// network is what servers listen in, to be cut.
type network struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (n *network) listen(network, addr string) (net.Listener, error) {
	l, err := net.Listen(network, addr)
	return listener{l, n}, err
}

// cut ends all connections, and those that are made later.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for _, c := range n.conns {
		c.Close()
	}
	n.conns = nil
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}

type listener struct {
	net.Listener

	network *network
}

func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.network.mu.Lock()
		down := l.network.down
		if !down {
			l.network.conns = append(l.network.conns, c)
		}
		l.network.mu.Unlock()
		if !down {
			return c, nil
		}
		c.Close()
	}
}
