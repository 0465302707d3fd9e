package pubsubtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/grpc-micro/micro/pubsub"
)

// Run runs the suite, each test on a broker of its own from open. The suite
// closes it. The tests run in parallel.
func Run(t *testing.T, open func(t *testing.T) pubsub.Broker) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"PublishThenSubscribe", publishThenSubscribe},
		{"Batch", batch},
		{"Attributes", attributes},
		{"NoAttributes", noAttributes},
		{"Header", header},
		{"TombstoneAndEmpty", tombstoneAndEmpty},
		{"TypedTombstone", typedTombstone},
		{"PublishCancelled", publishCancelled},
		{"PublishInvalid", publishInvalid},
		{"SubscribeInvalid", subscribeInvalid},
		{"Closed", closed},
		{"DeclaredTopic", declaredTopic},

		{"KeyOrder", keyOrder},
		{"KeysAtOnce", keysAtOnce},
		{"KeylessAtOnce", keylessAtOnce},
		{"Concurrency", concurrency},

		{"StartLast", startLast},
		{"StartTime", startTime},
		{"GroupsGetAll", groupsGetAll},
		{"MembersShare", membersShare},
		{"Broadcast", broadcast},
		{"Rebalance", rebalance},
		{"GoOn", goOn},

		{"RetryInLane", retryInLane},
		{"Permanent", permanent},
		{"AttemptsUsedUp", attemptsUsedUp},
		{"Panic", panics},
		{"Undecodable", undecodable},
		{"UndecodableEndsSubscription", undecodableEndsSubscription},
		{"NoDeadLetter", noDeadLetter},
		{"BroadcastDeadLetter", broadcastDeadLetter},
		{"Goexit", goexit},
		{"Redrive", redrive},
		{"UnorderedRetry", unorderedRetry},
		{"UnorderedRetryOutlastsMember", unorderedRetryOutlastsMember},

		{"Limit", limit},
		{"Drain", drain},
		{"DrainTimeout", drainTimeout},
		{"DrainInBackoff", drainInBackoff},
		{"Window", window},
		{"StopIdle", stopIdle},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// The deadline turns a hang into a failure; real brokers need some
			// seconds for a group to form.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			t.Cleanup(cancel)
			b := open(t)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				defer cancel()
				if err := b.Close(ctx); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			run := fmt.Sprintf("%08x", rand.Uint32())
			test.run(&suite{T: t, ctx: ctx, b: b, topic: "pubsubtest." + test.name + "." + run, group: "pubsubtest-" + run})
		})
	}
}
