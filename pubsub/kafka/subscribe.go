package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/grpc-micro/micro/internal/lanes"
	"github.com/grpc-micro/micro/pubsub"
)

const (
	// commitInterval is how often positions are committed: what a crash can have
	// handled again.
	commitInterval = 250 * time.Millisecond

	// commitTimeout bounds the last commit, of a partition that is given away.
	commitTimeout = 5 * time.Second

	// rebalanceMargin is how much longer the group waits for a member than that
	// one's handlers may take: for the grace of the lanes and the last commit.
	rebalanceMargin = commitTimeout + 5*time.Second

	// maxDrain is the longest drain that the group is told of: the protocol has
	// 32 bits of milliseconds for it.
	maxDrain = 24 * time.Hour

	// leaveTimeout bounds leaving the group, after the last commit.
	leaveTimeout = 5 * time.Second
)

// Subscribe implements [pubsub.Subscriber]. It returns an error if no server
// answers within the connect timeout, or the topic, or that of its dead letters,
// does not exist; once it has
// worked, it goes on for ever, whatever happens to the cluster, and logs each
// change.
//
// A planned rebalance repeats nothing. After a crash the group handles again
// what was finished since the last commit, up to a quarter of a second ago.
func (b *Broker) Subscribe(ctx context.Context, topic, group string, h pubsub.Handler, opts ...pubsub.SubscribeOption) error {
	sub, err := pubsub.NewSubscription(b, topic, group, h, opts...)
	if err != nil {
		return err
	}
	b.mu.Lock()
	if b.isClosed() {
		b.mu.Unlock()
		return fmt.Errorf("kafka: subscribe %s: %w", topic, pubsub.ErrClosed)
	}
	b.subs.Add(1)
	b.mu.Unlock()
	defer b.subs.Done()
	return sub.Run(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s := newSubscription(ctx, b, sub, cancel)
		defer context.AfterFunc(b.closed, func() { s.fail(fmt.Errorf("kafka: subscribe %s: %w", topic, pubsub.ErrClosed)) })()
		run := s.group
		if group == "" {
			run = s.broadcast
		}
		err := run(ctx)
		late, cancelLate := context.WithCancel(context.WithoutCancel(ctx))
		cancelLate() // the partitions have had their time
		abandoned := s.pool.Close(late)
		s.mu.Lock()
		defer s.mu.Unlock()
		return cmp.Or(err, s.failure, sub.Abandoned(abandoned))
	})
}

// subscription is a running Subscribe.
type subscription struct {
	b      *Broker
	sub    *pubsub.Subscription
	log    *slog.Logger
	pool   *lanes.Pool[*delivery]
	ctx    context.Context // that of Subscribe: for its values, and for what outlasts a generation
	cancel context.CancelFunc

	metadata int  // bytes of a commit's metadata; a generation's alone
	started  bool // where the group begins is committed; a generation's alone

	spread atomic.Pointer[map[string]int] // how many partitions of each topic we have spread over the group's members; nil: somebody else did

	mu      sync.Mutex // guards failure
	failure error      // what ended the subscription
}

func newSubscription(ctx context.Context, b *Broker, sub *pubsub.Subscription, cancel context.CancelFunc) *subscription {
	s := &subscription{b: b, sub: sub, log: sub.Logger, ctx: ctx, cancel: cancel, metadata: maxMetadata}
	s.pool = lanes.New(ctx, lanes.Config[*delivery]{
		Concurrency: sub.Concurrency,
		Window:      sub.Window,
		Handle: func(ctx context.Context, d *delivery, _ int) (time.Duration, error) {
			retryAfter, err := sub.Handle(ctx, &d.Delivery)
			if retryAfter == 0 && err == nil {
				d.reader.release(d.size)
			}
			return retryAfter, err
		},
	})
	return s
}

// fail ends the subscription with an error.
func (s *subscription) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = cmp.Or(s.failure, err)
	s.cancel()
}

// found waits for the topic, and that of its dead letters, for the connect timeout at most, and returns how
// many partitions it has.
func (s *subscription) found(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.b.connect, fmt.Errorf("connect timeout of %v: %w", s.b.connect, context.DeadlineExceeded))
	defer cancel()
	n, err := s.b.partitions(ctx, s.sub.Topic)
	if err != nil {
		return 0, fmt.Errorf("kafka: subscribe %s: %w", s.sub.Topic, err)
	}
	if dead := s.sub.DeadLetters; dead != "" {
		// That it is missing must not turn out with the first message for it.
		if _, err := s.b.partitions(ctx, dead); err != nil {
			return 0, fmt.Errorf("kafka: subscribe %s: dead letters: %w", s.sub.Topic, err)
		}
	}
	return n, nil
}

// group is a member of the group until ctx ends.
func (s *subscription) group(ctx context.Context) error {
	if _, err := s.found(ctx); err != nil {
		return err
	}
	s.sub.Rebalanced(nil) // until we are in the group
	d := newDialer()      // of its own, to be cut
	defer d.close()
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID:      s.sub.Group,
		Brokers: s.b.addrs,
		Topics:  []string{s.sub.Topic},
		Dialer: &kafkago.Dialer{
			ClientID:      s.b.clientID,
			Timeout:       dialTimeout,
			DialFunc:      d.dial,
			TLS:           s.b.tls,
			SASLMechanism: s.b.sasl,
		},
		HeartbeatInterval: min(500*time.Millisecond, s.b.session/5),
		SessionTimeout:    s.b.session,
		RebalanceTimeout:  min(s.sub.DrainTimeout, maxDrain) + rebalanceMargin,
		JoinGroupBackoff:  200 * time.Millisecond,
		GroupBalancers:    s.balancers(),
		Timeout:           dialTimeout,
	})
	if err != nil {
		return fmt.Errorf("kafka: subscribe %s: %w", s.sub.Topic, err)
	}
	var generations sync.WaitGroup
	err = s.follow(ctx, group, &generations)

	left := make(chan struct{})
	go func() {
		defer close(left)
		_ = group.Close() // drains and commits the generation, and leaves; it has no error to give
	}()
	generations.Wait()
	select {
	case <-left:
	case <-time.After(leaveTimeout):
		d.close() // the group will notice by the session timeout
		<-left
	}
	return err
}

// follow starts each generation of the group that we are in, until ctx ends or
// it turns out that the group cannot be joined at all.
func (s *subscription) follow(ctx context.Context, group *kafkago.ConsumerGroup, generations *sync.WaitGroup) error {
	var ghosts sync.WaitGroup
	defer ghosts.Wait()
	var failing time.Time // when it began that we cannot join; zero: it did not
	trouble := newTrouble(s.log, "not in the group")
	member := ""  // our last name in the group
	ghost := true // and the group knows it no more, or is being told
	for try := 0; ; {
		gen, err := group.Next(ctx)
		switch {
		case err == nil, errors.Is(err, kafkago.RebalanceInProgress), fenced(err): // it has let us in, and others come and go
			failing = time.Time{}
		case failing.IsZero():
			failing = time.Now()
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			trouble.is(nil)
			try, member, ghost = 0, gen.MemberID, false
			s.log.Info("kafka: in the group", "generation", gen.ID, "partitions", len(gen.Assignments[s.sub.Topic]))
			generations.Add(1)
			gen.Start(func(ctx context.Context) {
				defer generations.Done()
				s.generation(ctx, gen)
			})
			continue
		case member == "" && (hopeless(err) || !failing.IsZero() && time.Since(failing) > s.b.connect):
			return fmt.Errorf("kafka: subscribe %s: join group %s: %w", s.sub.Topic, s.sub.Group, s.b.unreachable(err))
		}
		trouble.is(err)
		if !ghost && !errors.Is(err, kafkago.RebalanceInProgress) {
			ghost = true
			ghosts.Go(func() { s.leave(ctx, member) })
		}
		if !pause(ctx, try) {
			return nil
		}
		try++
	}
}

// leave has a member leave that we were. After an error kafka-go forgets its
// name and joins by a new one, and the group would wait for the old one until
// the session timeout.
func (s *subscription) leave(ctx context.Context, member string) {
	ctx, cancel := context.WithTimeout(ctx, s.b.session)
	defer cancel()
	for try := 0; ; try++ {
		r, err := s.b.client.LeaveGroup(ctx, &kafkago.LeaveGroupRequest{GroupID: s.sub.Group, Members: []kafkago.LeaveGroupRequestMember{{ID: member}}})
		if err == nil {
			err = leaveError(r)
		}
		if err == nil || fenced(err) {
			return
		}
		if !pause(ctx, try) {
			return
		}
	}
}

// leaveError returns what the coordinator said. kafka-go reads the two fields of
// the answer in the wrong order, so that the code is in the lower half of the
// throttle time, and the refusal of a coordinator that is still loading the group
// looks like success.
func leaveError(r *kafkago.LeaveGroupResponse) error {
	if code := kafkago.Error(int16(r.Throttle.Milliseconds())); code != 0 { // the lower half
		return code
	}
	return r.Error
}

// hopeless reports that a group cannot be joined, unless somebody changes
// something.
func hopeless(err error) bool {
	if refusedUs(err) {
		return true
	}
	code, _ := errors.AsType[kafkago.Error](err)
	switch code {
	case kafkago.GroupAuthorizationFailed, kafkago.TopicAuthorizationFailed, kafkago.ClusterAuthorizationFailed,
		kafkago.InvalidSessionTimeout, kafkago.InvalidGroupId, kafkago.InconsistentGroupProtocol:
		return true
	default:
		return false
	}
}
