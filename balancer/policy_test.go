package balancer_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/grpc-micro/micro/balancer"
	"github.com/grpc-micro/micro/internal/wait"
)

func three(t testing.TB) (*server, *server, *server) {
	t.Helper()
	return newServer(t), newServer(t), newServer(t)
}

// Of 900 calls, one after the other, each of three equal servers gets 300, give
// or take what the policy leaves to chance: for random ones five standard
// deviations (71) are seen once in 1.7 million runs; Hash has the places of three
// IDs, too. P2C follows what it measures, which is noise here: see TestP2CIsEven.
func TestDistribution(t *testing.T) {
	t.Parallel()
	for policy, off := range map[string]int64{
		balancer.RoundRobin: 0, balancer.Weighted: 3, balancer.Random: 71, balancer.LeastRequest: 71, balancer.Hash: 140,
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			a, b, c := three(t)
			ch := dial(t, `{"`+policy+`":{}}`, a.instance("a"), b.instance("b"), c.instance("c"))
			ch.warm(t, a, b, c)
			for range 900 {
				if err := ch.call(deadline(t)); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range []*server{a, b, c} {
				if n := s.calls.Load(); n < 300-off || n > 300+off {
					t.Errorf("%d, %d and %d calls, want 300 each, give or take %d", a.calls.Load(), b.calls.Load(), c.calls.Load(), off)
					break
				}
			}
		})
	}
}

// One of two servers does not answer. Calls go there only as long as it looks
// no busier than the other, or when all ten choices fall on it: 1 in 1,024.
func TestLeastRequestAvoidsTheBusy(t *testing.T) {
	t.Parallel()
	slow, quick := newServer(t), newServer(t)
	ch := dial(t, `{"micro_least_request":{"choiceCount":10}}`, slow.instance("slow"), quick.instance("quick"))
	ch.warm(t, slow, quick)
	slow.hold = func(ctx context.Context) { <-ctx.Done() }
	ctx, release := context.WithCancel(context.Background())
	var calls sync.WaitGroup
	defer calls.Wait()
	defer release()
	for range 200 { // one after the other, without waiting for those that hang
		hang, answered := slow.calls.Load(), make(chan struct{})
		calls.Go(func() {
			defer close(answered)
			_ = ch.call(ctx)
		})
		wait.Until(t, "the call to be answered, or to hang", func() bool {
			select {
			case <-answered:
				return true
			default:
				return slow.calls.Load() > hang
			}
		})
	}
	if n := slow.calls.Load(); n < 1 || n > 10 {
		t.Errorf("%d of 200 calls went to the server that hangs, %d to the other", n, quick.calls.Load())
	}
}

func TestBadConfigsAreRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, config, want string }{
		{balancer.RoundRobin, `{"colour":"red"}`, "colour"},
		{balancer.Random, `{"choiceCount":2}`, "choiceCount"},
		{balancer.LeastRequest, `{"choiceCount":1}`, "from 2 to 10"},
		{balancer.LeastRequest, `{"choiceCount":11}`, "from 2 to 10"},
		{balancer.LeastRequest, `{"choiceCount":"many"}`, "choiceCount"},
		{balancer.P2C, `{"choiceCount":2}`, "choiceCount"},
		{balancer.P2C, `{"latency":{"decay":"soon"}}`, "soon"},
		{balancer.P2C, `{"latency":{"decay":"-1s"}}`, "negative"},
		{balancer.P2C, `{"latency":{"decay":"0s"}}`, "from 1ms to 1h"},
		{balancer.Weighted, `{"weights":{}}`, "weights"},
		{balancer.Hash, `{"loadFactor":0.5}`, "from 1 to 100"},
		{balancer.Hash, `{"header":"grpc-timeout"}`, "grpc-timeout"},
		{balancer.Hash, `{"header":"key-bin"}`, "key-bin"},
		{balancer.RoundRobin, `{"tiers":[]}`, "none"},
		{balancer.RoundRobin, `{"tiers":["any",{"zone":"a"}]}`, "after"},
		{balancer.RoundRobin, `{"tiers":["some"]}`, "tier 1"},
		{balancer.RoundRobin, `{"methods":{"a.A/":{"tiers":["any"]}}}`, "a.A/"},
		{balancer.RoundRobin, `{"methods":{"/a.A/B":{"tiers":["any"]}}}`, "/a.A/B"},
		{balancer.RoundRobin, `{"methods":{"a.A":{}}}`, "says nothing"},
		{balancer.RoundRobin, `{"methods":{"a.A":{"filter":{"colour":"red"}}}}`, "colour"},
		{balancer.RoundRobin, `{"filter":{"versionRange":">="}}`, "no version"},
		{balancer.RoundRobin, `{"zoneFirst":{"zone":"a","panicThreshold":101}}`, "from 0 to 100"},
		{balancer.RoundRobin, `{"zoneFirst":{"zone":"a","minInstances":0}}`, "from 1"},
		{balancer.RoundRobin, `{"zoneFirst":{}}`, "zone"},
		{balancer.RoundRobin, `{"ejection":{"codes":["OK"]}}`, "no failure"},
		{balancer.RoundRobin, `{"ejection":{"codes":["SAD"]}}`, "SAD"},
		{balancer.RoundRobin, `{"ejection":{"maxPercent":0}}`, "from 1 to 100"},
		{balancer.RoundRobin, `{"ejection":{"time":"1m","maxTime":"1s"}}`, "maxTime is 1s: give one from 1m0s"},
		{balancer.RoundRobin, `{"ejection":{"minutes":1}}`, "minutes"},
		{balancer.RoundRobin, `{"slowStart":{"minPercent":100}}`, "from 1 to 99"},
		{balancer.Hash, `{"slowStart":{}}`, "belongs to one instance"},
		{balancer.RoundRobin, `{"subset":{}}`, "from 1"},
		{balancer.RoundRobin, `{"subset":{"size":3,"of":9}}`, "of"},
		{balancer.RoundRobin, `{"connectionsPerInstance":0}`, "from 1 to 64"},
		{balancer.RoundRobin, `[]`, "array"},
		{balancer.RoundRobin, `{"filter":{}}`, "says nothing"},
		{balancer.RoundRobin, `{"filter":{"colour":"red"}}`, "colour"},
		{balancer.RoundRobin, `{"filter":{"not":{}}}`, "says nothing"},
		{balancer.RoundRobin, `{"filter":{"or":[{"version":"a"},{}]}}`, "says nothing"},
	} {
		parser := grpcbalancer.Get(test.name).(grpcbalancer.ConfigParser)
		if _, err := parser.ParseConfig([]byte(test.config)); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.name) {
			t.Errorf("%s %s: %v, want %q in it", test.name, test.config, err, test.want)
		}
	}
	for _, good := range []struct{ name, config string }{
		{balancer.RoundRobin, `{"subset":{"size":20,"key":"me"},"connectionsPerInstance":2}`},
		{balancer.RoundRobin, `{"filter":{"version":"v1","zone":"a","labels":{"x":"y"},"and":[{"zone":"a"}],"or":[{"version":"v1"},{"version":"v2"}],"not":{"version":"v3"}}}`},
		{balancer.P2C, `{"latency":{"decay":"2.5s","failurePenalty":"0s"}}`},
		{balancer.Hash, `{"header":"X-User","loadFactor":2}`},
		{balancer.Random, `{"ejection":{"codes":["UNAVAILABLE","DEADLINE_EXCEEDED"],"consecutiveFailures":3,"successRateDeviations":2.5,"latencyFactor":4,"minCalls":10,"minInstances":3,"interval":"5s","time":"1s","maxTime":"1m","maxPercent":50},"slowStart":{"window":"1m","minPercent":5}}`},
	} {
		if _, err := grpcbalancer.Get(good.name).(grpcbalancer.ConfigParser).ParseConfig([]byte(good.config)); err != nil {
			t.Errorf("%s %s: %v", good.name, good.config, err)
		}
	}
}

// Instances of another resolver have an address and nothing else, and every
// policy works on them.
func TestForeignResolver(t *testing.T) {
	t.Parallel()
	for _, policy := range policies {
		a, b, _ := three(t)
		ch := dial(t, `{"`+policy+`":{}}`)
		ch.r.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: a.addr}, {Addr: b.addr}}})
		ch.warm(t, a, b)
	}
}
