package kafka

import (
	"context"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// balancers are kafka-go's own, and tell how many partitions they have spread
// when we are the one who does so for the group. kafka-go watches for new
// partitions too, but compares with what it has read some time after: those that
// came in between nobody would ever be given.
func (s *subscription) balancers() []kafkago.GroupBalancer {
	return []kafkago.GroupBalancer{
		balancer{kafkago.RangeGroupBalancer{}, s},
		balancer{kafkago.RoundRobinGroupBalancer{}, s},
	}
}

type balancer struct {
	kafkago.GroupBalancer

	s *subscription
}

func (b balancer) AssignGroups(members []kafkago.GroupMember, partitions []kafkago.Partition) kafkago.GroupMemberAssignments {
	b.s.spread.Store(int64(len(partitions)))
	return b.GroupBalancer.AssignGroups(members, partitions)
}

// watch calls grown when the topic has more partitions than the n that the
// group shares, unless ctx ends before.
func (s *subscription) watch(ctx context.Context, n int, grown func()) {
	tick := time.NewTicker(s.b.growPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if now, err := s.b.lookup(ctx, s.sub.Topic); err == nil && now > n {
			s.log.Info("kafka: the topic has new partitions", "partitions", now, "before", n)
			grown()
			return
		}
	}
}
