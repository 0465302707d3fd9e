package kafka_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
	"github.com/grpc-micro/micro/pubsub/kafka"
)

// The coordinator of the group dies, and it takes longer than a commit may take
// until there is another one, as when its server was the active controller, too.
// Nobody can have had the partitions meanwhile: the last positions are committed
// after all, and nothing is handled again.
func TestCoordinatorAway(t *testing.T) {
	t.Parallel()
	const away = 6 * time.Second
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithSessionTimeout(20*time.Second))
	l := newLedger()
	m := joined(t, b, "t", "g", l.handle)
	if err := b.Publish(t.Context(), numbered("t", 0, 100, 10)...); err != nil {
		t.Fatal(err)
	}
	l.await(t, 100)
	requests := []kmsg.Key{kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.Heartbeat, kmsg.JoinGroup, kmsg.LeaveGroup}
	fault := k.Cluster().Fault(kfake.Fault{Keys: requests, Err: kerr.NotCoordinator, Count: -1})
	began := time.Now()
	if err := b.Publish(t.Context(), numbered("t", 100, 100, 10)...); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the coordinator to have been away for some time", func() bool { return time.Since(began) > away })
	fault.Remove()
	if err := b.Publish(t.Context(), numbered("t", 200, 100, 10)...); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	l.await(t, 300)
	if took := time.Since(back); took > 5*time.Second {
		t.Errorf("it took %v until messages were handled again", took)
	}
	m.leave()
	if _, again := l.count(); again != 0 {
		t.Errorf("%d messages were handled again", again)
	}
}

// A coordinator that has just taken over the group refuses what is asked of it
// until it has read the group's state. That is not taken for the word that a
// member which came back by a new name has left by its old one.
func TestGhostOfALoadingGroup(t *testing.T) {
	t.Parallel()
	var network network
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(network.listen))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b := newBroker(t, c.ListenAddrs(), kafka.WithAutoCreate(4, 1), kafka.WithSessionTimeout(time.Minute))
	l := newLedger()
	var logged wait.Log
	m := joined(t, b, "t", "g", l.handle, pubsub.WithSubscribeLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	if _, err := c.WaitGroupInfo(ctx, "g", func(g *kfake.GroupInfo) bool { return len(g.Commits["t"]) == 4 }); err != nil {
		t.Fatal(err) // with nothing left to commit it comes back by a new name
	}
	loading := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.LeaveGroup}, Err: kerr.CoordinatorLoadInProgress, Count: 5})
	network.cut()
	wait.Until(t, "the log to say that the member is out of the group", func() bool { return strings.Contains(logged.String(), "not in the group") })
	network.heal()
	if err := loading.Wait(ctx, 5); err != nil {
		t.Fatal(err)
	}
	loaded := time.Now()
	if err := b.Publish(t.Context(), numbered("t", 0, 100, 10)...); err != nil {
		t.Fatal(err)
	}
	l.await(t, 100)
	if took := time.Since(loaded); took > 10*time.Second {
		t.Errorf("it took %v until messages were handled", took)
	}
	m.leave()
}

// A group that rebalances for longer than the connect timeout, because others come
// and go, has answered: it is joined when it comes to rest.
func TestRestlessGroup(t *testing.T) {
	t.Parallel()
	k := startKafka(t)
	b := newBroker(t, k.Addrs(), kafka.WithConnectTimeout(3*time.Second))
	restless := k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SyncGroup}, Err: kerr.RebalanceInProgress, Count: -1})
	m := join(t, b, "t", "g", newLedger().handle)
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	go func() {
		<-m.ended
		cancel()
	}()
	if err := restless.Wait(ctx, 20); err != nil { // the pauses between add up to 3.8 s at least
		m.await() // says what it has ended with
	}
	restless.Remove()
	m.await()
	m.leave()
}
