package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/grpc-micro/micro/dev"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

const (
	soakTTL  = 4 * time.Second // more than a busy machine stands still
	soakSeed = 20261124
)

// TestSoak mixes faults at random: servers that restart, are killed or stand
// still, and etcd nodes that go away, all of them at once even, for longer than
// the leases last. All the while no call may fail for want of an address, and
// in the end everything must be as if nothing had happened.
//
// MICRO_SOAK says for how long ("3m"; by default it is 5 s), and MICRO_SEED with
// which seed.
func TestSoak(t *testing.T) {
	length, seed := soakSettings(t)
	t.Logf("%v with MICRO_SEED=%d", length, seed)
	etcd := startEtcd(t, dev.WithNodes(3))
	s := &soak{
		t: t, etcd: etcd, url: fmt.Sprintf("%s?ttl=%v", etcd.URL(), soakTTL),
		random: rand.New(rand.NewPCG(seed, seed)),
		did:    make(map[string]int),
	}
	for range 5 {
		s.fleet = append(s.fleet, s.newServer())
	}
	l := startLoad(t, s.url, false, 2*time.Second, grpc.WithDefaultServiceConfig(retrying))
	l.more(t, 100)
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); {
		s.fault()
		l.more(t, 100)
	}
	s.check()

	l.calm.Store(true)
	l.more(t, 1000)
	l.stop()
	t.Logf("faults: %v; %d of %d calls failed, %d of them for want of an address", s.did, l.failed.Load(), l.calls.Load(), l.unaddressed.Load())
	if l.unaddressed.Load() > 0 {
		t.Errorf("%d calls failed for want of an address", l.unaddressed.Load())
	}
	for _, p := range s.fleet {
		p.terminate()
	}
	s.fleet = nil
	s.check()
}

func soakSettings(t *testing.T) (length time.Duration, seed uint64) {
	t.Helper()
	length, seed = 5*time.Second, soakSeed
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

type soak struct {
	t       *testing.T
	etcd    *dev.Etcd
	url     string
	random  *rand.Rand
	fleet   []*process
	servers int
	did     map[string]int
}

func (s *soak) newServer() *process {
	s.servers++
	return startProcess(s.t, s.url, fmt.Sprintf("server-%d", s.servers))
}

// fault makes one thing go wrong, and mends it.
func (s *soak) fault() {
	at := s.random.IntN(len(s.fleet))
	victim := s.fleet[at]
	faults := []struct {
		name string
		do   func()
	}{
		{"restart", func() {
			s.fleet[at] = s.newServer()
			victim.terminate()
		}},
		{"kill -9", func() {
			victim.kill()
			s.fleet[at] = s.newServer()
		}},
		{"standstill", func() { // long enough for its lease to end
			victim.signal(syscall.SIGSTOP)
			s.pause(soakTTL * 3 / 2)
			victim.signal(syscall.SIGCONT)
		}},
		{"one etcd node away", func() { s.outage(s.random.IntN(3)) }},
		{"etcd without a quorum", func() { s.outage(0, 1+s.random.IntN(2)) }},
		{"no etcd", func() { s.outage(0, 1, 2) }},
		{"restart while etcd is away", func() {
			s.stopNodes(0, 1, 2)
			victim.signal(syscall.SIGTERM)
			if err := victim.Wait(); err != nil { // it could not withdraw, and says so; its lease ends
				s.did["could not withdraw"]++
			}
			s.startNodes(0, 1, 2)
			s.fleet[at] = s.newServer()
		}},
	}
	f := faults[s.random.IntN(len(faults))]
	s.did[f.name]++
	f.do()
}

// outage takes etcd nodes away, for up to twice as long as leases last.
func (s *soak) outage(nodes ...int) {
	s.stopNodes(nodes...)
	s.pause(time.Duration(s.random.Int64N(int64(2 * soakTTL))))
	s.startNodes(nodes...)
}

func (s *soak) stopNodes(nodes ...int) {
	for _, n := range nodes {
		s.etcd.StopNode(n)
	}
}

func (s *soak) startNodes(nodes ...int) {
	s.t.Helper()
	started := make(chan error, len(nodes))
	for _, n := range nodes { // each waits for the others
		go func() { started <- s.etcd.StartNode(deadline(s.t), n) }()
	}
	for range nodes {
		if err := <-started; err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *soak) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.t.Context().Done():
	}
}

// check waits until the registry has what runs and nothing else: not an
// instance, not a key, not a lease.
func (s *soak) check() {
	t := s.t
	t.Helper()
	reg, err := resolver.Open(s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: s.etcd.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var want []string
	for _, p := range s.fleet {
		want = append(want, p.id)
	}
	slices.Sort(want)
	var view []string
	var keys, leases int
	defer func() {
		if t.Failed() {
			t.Logf("the registry has %v, want %v; etcd has %d keys and %d leases, want %d and %d", view, want, keys, leases, 2*len(want), len(want))
		}
	}()
	began := time.Now()
	wait.Until(t, "the registry to have "+strings.Join(want, ", ")+", and etcd nothing else", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		view = nil
		for insts, err := range reg.Watch(ctx, "test") {
			if err != nil {
				return false
			}
			for _, inst := range insts {
				view = append(view, inst.ID)
			}
			break
		}
		all, err := client.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return false
		}
		granted, err := client.Leases(ctx)
		if err != nil {
			return false
		}
		keys, leases = int(all.Count), len(granted.Leases)
		return slices.Equal(view, want) && keys == 2*len(want) && leases == len(want) // two names, one lease
	})
	t.Logf("the registry is right %v after the last fault", time.Since(began).Round(time.Millisecond))
}
