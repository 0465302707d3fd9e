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
	spread := make(map[string]int)
	for _, p := range partitions {
		spread[p.Topic]++
	}
	b.s.spread.Store(&spread)
	return b.GroupBalancer.AssignGroups(members, partitions)
}

// watch calls grown when a topic has more partitions than the group shares of it,
// unless ctx ends before. Members of a group may have different topics, and it is
// the one who spreads them that has to look after all.
func (s *subscription) watch(ctx context.Context, spread map[string]int, grown func()) {
	tick := time.NewTicker(s.b.growPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for topic, n := range spread {
			if now, err := s.b.lookup(ctx, topic); err == nil && now > n {
				s.log.Info("kafka: a topic of the group has new partitions", "grown", topic, "partitions", now, "before", n)
				grown()
				return
			}
		}
	}
}
