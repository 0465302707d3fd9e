package kafka_test

import (
	"context"
	"os"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/grpc-micro/micro/internal/wait"
)

// committed is what a group has committed, and fails the test if that goes back.
type committed struct {
	r *trial

	mu     sync.Mutex // guards what follows
	seen   map[int]int64
	looked int
}

// watchOffsets looks at what the group has committed until the test ends, and fails
// it if that goes back.
func (r *trial) watchOffsets() {
	c := &committed{r: r, seen: make(map[int]int64)}
	client, hangUp := dialed(r.addrs, time.Second)
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	logged := os.Getenv("KAFKA_BROKERS") != "" // the cluster in this process has no log of them
	if logged {
		watching.Go(func() { c.tail(ctx) })
	} else {
		watching.Go(func() { c.ask(ctx, client) })
	}
	r.Cleanup(func() {
		defer hangUp()
		defer watching.Wait()
		defer cancel()
		if logged && !r.Failed() {
			wait.Within(r, r.l.patience, "the log of commits to be read", func() bool { return c.complete(client) })
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.looked < 10 {
			r.Errorf("saw %d committed offsets", c.looked)
		}
	})
}

func (c *committed) note(partition int, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked++
	if before, known := c.seen[partition]; known && offset < before {
		c.r.Errorf("partition %d: committed offset %d after %d", partition, offset, before)
	}
	c.seen[partition] = offset
}

// ask asks the coordinator, again and again.
func (c *committed) ask(ctx context.Context, client *kafkago.Client) {
	for tick := time.Tick(5 * time.Millisecond); ctx.Err() == nil; {
		for partition, offset := range c.fetch(ctx, client) {
			c.note(partition, offset)
		}
		select {
		case <-tick:
		case <-ctx.Done():
		}
	}
}

// fetch returns what the coordinator says that is committed; nil: it does not answer.
func (c *committed) fetch(ctx context.Context, client *kafkago.Client) map[int]int64 {
	var partitions []int
	for p := range trialPartitions {
		partitions = append(partitions, p)
	}
	response, err := client.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: c.r.topic, Topics: map[string][]int{c.r.topic: partitions}})
	if err != nil || response.Error != nil {
		return nil
	}
	offsets := make(map[int]int64)
	for _, p := range response.Topics[c.r.topic] {
		if p.Error == nil {
			offsets[p.Partition] = p.CommittedOffset
		}
	}
	return offsets
}

// tail reads the log of Kafka's own that commits are in. A coordinator that has just
// taken over from one that died may give out an offset that is older than what that
// one gave out, until the other replicas have told it that they have the newer.
func (c *committed) tail(ctx context.Context) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.r.addrs...), kgo.ConsumeTopics("__consumer_offsets"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(time.Second))
	if err != nil {
		c.r.Error(err)
		return
	}
	defer client.Close()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
			var key kmsg.OffsetCommitKey
			var value kmsg.OffsetCommitValue
			if key.ReadFrom(record.Key) == nil && key.Version <= 1 && key.Group == c.r.topic && key.Topic == c.r.topic && value.ReadFrom(record.Value) == nil {
				c.note(int(key.Partition), value.Offset)
			}
		})
	}
}

// complete reports whether all that is committed was seen.
func (c *committed) complete(client *kafkago.Client) bool {
	ctx, cancel := context.WithTimeout(context.Background(), wait.Patience)
	defer cancel()
	offsets := c.fetch(ctx, client)
	c.mu.Lock()
	defer c.mu.Unlock()
	for partition, offset := range offsets {
		if offset > 0 && c.seen[partition] < offset {
			return false
		}
	}
	return len(offsets) == trialPartitions
}
