package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/grpc-micro/micro/resolver"
	_ "github.com/grpc-micro/micro/resolver/etcd"

	"github.com/grpc-micro/micro/bench/peer"
)

// squad is a team at a point of a curve.
type squad struct {
	*team
	point

	registry string // its URL
	service  string
	got      loadSample

	opened    resolver.Registry // nil: nothing is announced
	announced []resolver.Registration
	changing  *resolver.Instance // the one that does, in the last of them
}

const (
	setupTimeout = 3 * time.Minute // of many streams or instances
	changes      = 20              // of one instance, in a row
	changePause  = 50 * time.Millisecond
	picks        = 200_000
)

// try does a part of it, unless an earlier one has failed.
func (s *squad) try(do func() error) {
	if s.got.Failed != "" {
		return
	}
	if err := do(); err != nil {
		fmt.Fprintf(os.Stderr, "row %q: %v\n", s.name, err)
		s.got.Failed = err.Error()
	}
}

// prepare opens the streams or brings the instances up, and looks at what that
// takes, and at a client that has nothing else to do.
func (s *squad) prepare(ctx context.Context) error {
	setup := peer.Job{Kind: peer.OpenJob, Size: 100, Callers: 64, Count: s.open, Duration: setupTimeout}
	if s.fleet > 0 {
		if err := s.announce(ctx); err != nil {
			return err
		}
		setup = peer.Job{Kind: peer.ReadyJob, Callers: 1, Count: s.fleet, Duration: setupTimeout}
		if s.mode == loadSubset.mode {
			setup.Count = 0 // all of the subset
		}
	}
	if setup.Count == 0 && s.mode != loadSubset.mode {
		return nil
	}
	if _, err := s.serversUsage(); err != nil {
		return err
	}
	r, err := s.client.ask(peer.Request{Job: &setup})
	if err != nil {
		return err
	}
	servers, err := s.serversUsage()
	if err != nil {
		return err
	}
	s.got.Setup, s.got.SetupCPU = r.Result.Elapsed, r.Usage.CPU+servers.CPU
	if err := s.remember(true); err != nil {
		return err
	}
	one := s.job
	one.Callers, one.Duration = 1, time.Second/2
	if r, err = s.client.ask(peer.Request{Job: &one}); err != nil {
		return err
	}
	s.got.One = r.Result.Times
	return nil
}

// finish looks at the processes after the calls, where they held nothing.
func (s *squad) finish() error {
	if s.got.ClientMemory.Goroutines > 0 {
		return nil
	}
	return s.remember(false)
}

func (s *squad) remember(settle bool) error {
	client, err := s.client.ask(peer.Request{Settle: settle})
	if err != nil {
		return err
	}
	server, err := s.servers[0].ask(peer.Request{Settle: settle})
	s.got.ClientMemory, s.got.ServerMemory = client.Memory, server.Memory
	return err
}

// announce registers the instances that the one server is said to be, for those
// that look them up.
func (s *squad) announce(ctx context.Context) error {
	if s.program != loadMicro.program || s.fleet < 2 {
		return nil
	}
	aliases, err := peer.Aliases(s.servers[0].addr, s.fleet-1)
	if err != nil {
		return err
	}
	insts := make([]*resolver.Instance, len(aliases))
	for i, addr := range aliases {
		insts[i] = &resolver.Instance{ID: "alias-" + strconv.Itoa(i), Service: s.service, Addrs: []string{addr}}
	}
	if s.opened, err = resolver.Open(s.registry); err != nil {
		return err
	}
	s.changing = insts[0]
	for _, together := range [][]*resolver.Instance{insts[1:], insts[:1]} {
		if len(together) == 0 {
			continue
		}
		r, err := s.opened.Register(ctx, together...)
		if err != nil {
			return err
		}
		s.announced = append(s.announced, r)
	}
	return nil
}

// change has one instance change again and again: first in a client that does
// nothing else, for the CPU that it takes; then beside calls at a rate that
// every row can keep.
func (s *squad) change(rate float64, duration time.Duration) error {
	pick := peer.Job{Kind: peer.PickJob, Callers: 1, Count: picks, Duration: setupTimeout}
	r, err := s.client.ask(peer.Request{Job: &pick})
	if err != nil {
		return err
	}
	s.got.Pick = r.Result.Elapsed / picks
	if s.fleet < 2 {
		return nil
	}
	quiet := peer.Job{Kind: peer.ChangeJob, Callers: 1, Count: changes, Duration: changes * changePause}
	if r, err = s.whileChanging(quiet); err != nil {
		return err
	}
	s.got.Change = r.Usage.CPU / changes
	busy := s.job
	busy.Kind, busy.Callers, busy.Rate, busy.Duration = peer.ChangeJob, s.job.Callers+1, rate, duration
	busy.Count = max(1, int(duration/changePause))
	if r, err = s.whileChanging(busy); err != nil {
		return err
	}
	s.got.Changing = r.Result.Times
	return nil
}

// whileChanging does a ChangeJob, and its changes in the registry, if there is
// one to be told.
func (s *squad) whileChanging(j peer.Job) (peer.Reply, error) {
	ended := make(chan error, 1)
	go func() { ended <- s.changeRegistered(j) }()
	r, err := s.client.ask(peer.Request{Job: &j})
	return r, errors.Join(err, <-ended)
}

func (s *squad) changeRegistered(j peer.Job) error {
	if s.changing == nil {
		return nil
	}
	registration := s.announced[len(s.announced)-1]
	ctx, cancel := context.WithTimeout(context.Background(), j.Duration+setupTimeout)
	defer cancel()
	start := time.Now()
	for i := range j.Count {
		time.Sleep(time.Until(start.Add(j.Duration * time.Duration(i) / time.Duration(j.Count))))
		inst := s.changing.Clone()
		inst.Labels = map[string]string{"change": strconv.Itoa(i)}
		if err := registration.Update(ctx, inst); err != nil {
			return err
		}
	}
	return nil
}

// stop withdraws what was announced, too.
func (s *squad) stop() {
	s.team.stop()
	if s.opened == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, r := range s.announced {
		_ = r.Deregister(ctx) // etcd ends with the run
	}
	_ = s.opened.Close() // likewise
}
