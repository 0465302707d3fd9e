package kafka_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/pubsub"
)

// clusterDir names the folder of a real cluster that KAFKA_BROKERS is: the process
// of broker 1 is in 1/pid, and is started again when it dies. `.ci/kafka.sh cluster`
// is one.
const clusterDir = "MICRO_KAFKA_CLUSTER_DIR"

// recovery bounds how long it takes until a server that was killed is back, or
// another one stands in for it: Java starts, while two others and we want the
// machine.
const recovery = 2 * time.Minute

// The server that leads a partition is killed under load, one after the other, and
// comes back. Each message is on two servers before it counts as published, so none
// is lost, and each key stays in order.
func TestLeaderKilled(t *testing.T) {
	dir := os.Getenv(clusterDir)
	if dir == "" {
		t.Skipf("%s is not set: it takes three servers whose processes can be killed; .ci/run does that", clusterDir)
	}
	addrs, topic := cluster(t)
	r := newTrial(t, addrs, topic)
	r.l.patience = recovery
	spec := pubsub.TopicSpec{Name: topic, Partitions: trialPartitions, Replication: 3, Config: map[string]string{"min.insync.replicas": "2"}}
	if err := pubsub.EnsureTopics(t.Context(), r.b, spec); err != nil {
		t.Fatal(err)
	}
	r.watchOffsets()
	one, two := r.join(r.l.handle), r.join(r.l.handle)
	one.await()
	two.await()
	r.publish()
	for _, percent := range []int{20, 45, 70} {
		r.reach(percent)
		leader := r.inSync()
		pid := killServer(t, dir, leader)
		killed := time.Now()
		r.reach(percent + 20)
		t.Logf("server %d (process %d) killed at %d %%, which the next 20 %% took %v from", leader, pid, percent, time.Since(killed).Round(time.Millisecond))
	}
	again := r.end()
	r.inSync()
	twice := r.inLog() - r.total
	one.leave()
	two.leave()
	t.Logf("%d messages: %d are twice in the log, %d were handled again", r.total, twice, again)
	if twice < 0 {
		t.Errorf("the log lacks %d", -twice)
	}
}

// inSync waits until every server has every partition, and returns who leads the
// first.
func (r *trial) inSync() (leader int) {
	r.Helper()
	c, hangUp := dialed(r.addrs, 50*time.Millisecond)
	defer hangUp()
	wait.Within(r, recovery, "every server to have every partition", func() bool {
		m, err := c.Metadata(r.Context(), &kafkago.MetadataRequest{Topics: []string{r.topic}})
		if err != nil || len(m.Topics) != 1 || len(m.Topics[0].Partitions) != trialPartitions {
			return false
		}
		for _, p := range m.Topics[0].Partitions {
			if len(p.Isr) < 3 {
				return false
			}
			if p.ID == 0 {
				leader = p.Leader.ID
			}
		}
		return true
	})
	return leader
}

// killServer is kill -9, of a server that may be about to come back from the one
// before.
func killServer(t testing.TB, dir string, id int) (pid int) {
	t.Helper()
	wait.Within(t, recovery, "the server to be up", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(id), "pid"))
		if err != nil {
			t.Fatal(err)
		}
		if text = bytes.TrimSpace(text); len(text) == 0 { // it is being written
			return false
		}
		if pid, err = strconv.Atoi(string(text)); err != nil {
			t.Fatal(err)
		}
		err = syscall.Kill(pid, syscall.SIGKILL)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		return err == nil
	})
	return pid
}
