package pubsubtest

import (
	"fmt"
	"strings"

	"github.com/grpc-micro/micro/pubsub"
)

// A topic is made as it was declared; one that is different is named, and not
// changed. Brokers without declared topics take every declaration.
func declaredTopic(s *suite) {
	spec := pubsub.TopicSpec{Name: s.topic, Partitions: 2}
	for range 2 {
		if err := pubsub.EnsureTopics(s.ctx, s.b, spec); err != nil {
			s.Fatalf("EnsureTopics: %v", err)
		}
	}
	const n = 50
	r := newRecord()
	s.subscribe(s.group, r.handle)
	for i := range n {
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	got := s.await(r, n)
	s.exactly(r, numbers("v", n))
	if _, ok := s.b.(pubsub.TopicEnsurer); !ok {
		return
	}
	used := make(map[int]bool)
	for _, d := range got {
		used[d.Partition] = true
	}
	if !used[0] || !used[1] || len(used) != 2 {
		s.Errorf("%d keys are in partitions %v, want 0 and 1", n, used)
	}
	spec.Partitions = 3
	err := pubsub.EnsureTopics(s.ctx, s.b, spec)
	if err == nil || !strings.Contains(err.Error(), s.topic) || !strings.Contains(err.Error(), "2 partitions, and 3 are declared") {
		s.Errorf("EnsureTopics = %v for a topic of 2 partitions when 3 are declared", err)
	}
}
