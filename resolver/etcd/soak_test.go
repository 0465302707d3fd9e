package etcd_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// TestSoak mixes all faults of etcd and the network at random. No call may fail in
// all that time; and in the end the clients know exactly the servers that live,
// and etcd has nothing but their keys and leases.
//
// MICRO_SOAK says for how long ("3m"; by default it is 5 s), and MICRO_SEED with
// which seed.
func TestSoak(t *testing.T) { //nolint:paralleltest // it looks at all watches of the process
	length, seed := soakSettings(t)
	t.Logf("%v with MICRO_SEED=%d", length, seed)
	s := newSoak(t, rand.New(rand.NewPCG(seed, seed)))
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); {
		s.step()
	}
	s.check()
	s.fleet.hush()
	for _, id := range slices.Sorted(maps.Keys(s.fleet.servers)) {
		s.fleet.retire(id)
	}
	wait.Until(t, "etcd to be empty", func() bool { return s.keys() == 0 && s.leases() == 0 })
	t.Logf("%d calls through %v", s.fleet.calls.Load(), s.done)
}

func soakSettings(t *testing.T) (length time.Duration, seed uint64) {
	t.Helper()
	length, seed = 5*time.Second, 20261124
	var err error
	if text := os.Getenv("MICRO_SOAK"); text != "" {
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("MICRO_SOAK: %v", err)
		}
	}
	if text := os.Getenv("MICRO_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("MICRO_SEED: %v", err)
		}
	}
	return length, seed
}

// soak is a fleet whose connections to etcd all go through proxies.
type soak struct {
	t       *testing.T
	rand    *rand.Rand
	cluster *cluster
	proxies []*proxy
	via     []string // the proxies
	fleet   *fleet
	next    int // number of the next server
	done    map[string]int
}

func newSoak(t *testing.T, r *rand.Rand) *soak {
	t.Helper()
	s := &soak{t: t, rand: r, cluster: startCluster(t, 3), next: 4, done: make(map[string]int)}
	for _, endpoint := range s.cluster.endpoints() {
		p := newProxy(t, endpoint)
		s.proxies = append(s.proxies, p)
		s.via = append(s.via, p.addr())
	}
	s.fleet = startFleet(t, s.cluster.endpoints(), s.via, 4, resolver.WithGrace(4*shortTTL))
	return s
}

// step does something to etcd, to the network, or to the fleet, and waits until
// every server is registered again.
func (s *soak) step() {
	actions := map[string]func(){
		"kill a node":   func() { s.restart(s.rand.IntN(3)) },
		"kill leader":   func() { s.restart(s.cluster.leader()) },
		"kill quorum":   func() { s.restart(0, 1) },
		"kill all":      func() { s.restart(0, 1, 2) },
		"wipe":          s.wipe,
		"cut off":       func() { s.network((*proxy).cut) },
		"slow":          func() { s.network(func(p *proxy) { p.slow(100 * time.Millisecond) }) },
		"compact":       s.compact,
		"delete a key":  s.deleteKey,
		"server comes":  s.comes,
		"server leaves": s.leaves,
	}
	names := slices.Sorted(maps.Keys(actions))
	name := names[s.rand.IntN(len(names))]
	s.done[name]++
	began := time.Now()
	actions[name]()
	did := time.Since(began)
	s.fleet.registered()
	s.t.Logf("%s took %v; all %d servers were registered %v later, after %d calls",
		name, did.Round(time.Millisecond), len(s.fleet.servers), (time.Since(began) - did).Round(time.Millisecond), s.fleet.calls.Load())
}

// pause is up to twice as long as a lease, and often shorter than one.
func (s *soak) pause() { pass(time.Duration(s.rand.Int64N(int64(2 * shortTTL)))) }

func (s *soak) restart(nodes ...int) {
	s.cluster.kill(nodes...)
	s.pause()
	s.cluster.start(nodes...)
}

func (s *soak) wipe() {
	s.cluster.kill(0, 1, 2)
	s.cluster.wipe(0, 1, 2)
	s.pause()
	s.cluster.start(0, 1, 2)
}

// network disturbs the ways to some of the nodes, or all.
func (s *soak) network(disturb func(*proxy)) {
	some := s.proxies[:1+s.rand.IntN(3)]
	for _, p := range some {
		disturb(p)
	}
	s.pause()
	for _, p := range some {
		p.heal()
	}
}

func (s *soak) compact() {
	client := s.fleet.direct.client
	res, err := client.Put(deadline(s.t), "other", "")
	if err == nil {
		_, err = client.Compact(deadline(s.t), res.Header.GetRevision())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *soak) deleteKey() {
	ids := slices.Sorted(maps.Keys(s.fleet.servers))
	id := ids[s.rand.IntN(len(ids))]
	before := s.fleet.servers[id].announcer.State().Registrations
	s.fleet.direct.delete("svc/" + id)
	wait.Until(s.t, "the key to come back", func() bool { return s.fleet.servers[id].announcer.State().Registrations > before })
}

func (s *soak) comes() {
	s.fleet.start(fmt.Sprintf("s%d", s.next), s.via)
	s.next++
}

func (s *soak) leaves() {
	if ids := slices.Sorted(maps.Keys(s.fleet.servers)); len(ids) > 2 {
		s.fleet.retire(ids[s.rand.IntN(len(ids))])
	}
}

// check waits until clients and etcd have exactly what lives.
func (s *soak) check() {
	want := len(s.fleet.servers)
	wait.Until(s.t, "the client to know the servers that live, and no others", func() bool {
		watches := resolver.Watches()
		return len(watches) == 1 && watches[0].Watching && watches[0].Held == 0 && watches[0].Instances == want
	})
	wait.Until(s.t, "etcd to have a key and a lease for each server", func() bool { return s.keys() == want && s.leases() == want })
	s.fleet.reaches(want)
}

func (s *soak) keys() int {
	ctx, cancel := context.WithTimeout(context.Background(), patience/10)
	defer cancel()
	res, err := s.fleet.direct.client.Get(ctx, "p/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return -1
	}
	return int(res.Count)
}

func (s *soak) leases() int {
	ctx, cancel := context.WithTimeout(context.Background(), patience/10)
	defer cancel()
	res, err := s.fleet.direct.client.Leases(ctx)
	if err != nil {
		return -1
	}
	return len(res.Leases)
}
