package pubsubtest

import (
	"context"
	"fmt"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

// A group that starts at Last misses nothing that is published once it is
// ready, and gets nothing from before.
func startLast(s *suite) {
	for i := range 20 {
		s.publish(s.message(fmt.Sprint("k", i), "before"))
	}
	r := newRecord()
	s.subscribe(s.group, r.handle, pubsub.WithStart(pubsub.Last))
	for i := range 20 {
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	s.await(r, 20)
	s.exactly(r, numbers("v", 20))
}

// A group that starts at a time gets what was published then or later, and one that
// starts in the future what comes from now on.
func startTime(s *suite) {
	for i := range 20 {
		s.publish(s.message(fmt.Sprint("k", i), "before"))
	}
	tick(s)
	begin := time.Now()
	tick(s)
	for i := range 20 {
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	r := newRecord()
	s.subscribe(s.group, r.handle, pubsub.WithStartTime(begin))
	s.await(r, 20)
	s.exactly(r, numbers("v", 20))

	later := newRecord()
	s.subscribe(s.group+"-later", later.handle, pubsub.WithStartTime(time.Now().Add(time.Hour)))
	for i := range 20 {
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("w", i)))
	}
	s.await(later, 20)
	s.exactly(later, numbers("w", 20))
}

// tick waits until Kafka's clock, of milliseconds, shows another time.
func tick(s *suite) {
	select {
	case <-time.After(5 * time.Millisecond):
	case <-s.ctx.Done():
	}
}

func groupsGetAll(s *suite) {
	one, two := newRecord(), newRecord()
	s.subscribe(s.group+"-one", one.handle)
	s.subscribe(s.group+"-two", two.handle)
	for i := range 50 {
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	for _, r := range []*record{one, two} {
		s.await(r, 50)
		s.exactly(r, numbers("v", 50))
	}
}

// Two members of a group get each message once between them, and both get some.
func membersShare(s *suite) {
	one, two, both := newRecord(), newRecord(), newRecord()
	member := func(r *record) pubsub.Handler {
		return func(_ context.Context, d *pubsub.Delivery) error {
			r.add(d)
			both.add(d)
			return nil
		}
	}
	s.subscribe(s.group, member(one))
	s.subscribe(s.group, member(two))
	n := 0
	for len(one.all()) == 0 || len(two.all()) == 0 { // the second one may be ready before it has got its share
		if s.ctx.Err() != nil {
			s.Fatalf("one member got %d messages, and the other %d", len(one.all()), len(two.all()))
		}
		for range 20 {
			s.publish(s.message(fmt.Sprint("k", n), fmt.Sprint("v", n)))
			n++
		}
		s.await(both, n)
	}
	s.exactly(both, numbers("v", n))
}

func broadcast(s *suite) {
	s.publish(s.message("k", "before"))
	one, two := newRecord(), newRecord()
	s.subscribe("", one.handle)
	s.subscribe("", two.handle)
	for i := range 50 {
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	for _, r := range []*record{one, two} {
		for _, d := range s.await(r, 50) {
			if d.Group != "" {
				s.Errorf("delivered to group %q", d.Group)
			}
		}
		s.exactly(r, numbers("v", 50))
	}
}

// Members come and go while messages are published: none is lost, none is out
// of order in its key, and as all go in an orderly way, none is repeated.
func rebalance(s *suite) {
	const keys = 16
	r := newRecord()
	n := 0
	publish := func(rounds int) {
		for range rounds {
			var msgs []*pubsub.Message
			for key := range keys {
				msgs = append(msgs, s.message(fmt.Sprint("k", key), fmt.Sprint(n)))
				n++
			}
			s.publish(msgs...)
		}
	}
	one := s.subscribe(s.group, r.handle)
	publish(20)
	two := s.subscribe(s.group, r.handle)
	publish(20)
	three := s.subscribe(s.group, r.handle)
	publish(20)
	one.stop()
	publish(20)
	three.stop()
	publish(20)
	s.inOrder(s.await(r, n))
	two.stop()
	s.exactly(r, numbers("", n))
}

// A group that had no members for a while goes on where it was, whatever
// WithStart says.
func goOn(s *suite) {
	r := newRecord()
	sub := s.subscribe(s.group, r.handle)
	for i := range 20 {
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	s.await(r, 20)
	sub.stop()
	for i := range 20 {
		s.publish(s.message(fmt.Sprint("k", i), fmt.Sprint("v", 20+i)))
	}
	s.subscribe(s.group, r.handle, pubsub.WithStart(pubsub.Last))
	s.await(r, 40)
	s.exactly(r, numbers("v", 40))
}
