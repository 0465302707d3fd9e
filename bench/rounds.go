package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/grpc-micro/micro/bench/peer"
)

// plan is what a run measures.
type plan struct {
	rows     []row
	jobs     []job
	rounds   int
	duration time.Duration
	profile  string
	policies bool // measure them, too

	dir   string // has the programs
	infra *infra
}

// sample is what one row did of one job in one round.
type sample struct {
	Row, Job string
	Round    int
	Calls    int64
	Elapsed  time.Duration
	Times    peer.Times
	P99s     []time.Duration // of each turn
	Client   peer.Usage
	Server   peer.Usage
	Failed   string `json:",omitempty"` // why nothing else here means anything
}

func (s sample) perSec() float64 { return float64(s.Calls) / s.Elapsed.Seconds() }

// run measures in rounds: in each, every row starts fresh processes, so that
// the luck of one process shows as a spread; then, job by job, the rows take
// turns.
func (p *plan) run(ctx context.Context) (all *results, err error) {
	if p.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.dir)) }()
	if err := build(ctx, p.dir, p.rows); err != nil {
		return nil, err
	}
	all = &results{}
	for round := range p.rounds {
		samples, err := p.round(ctx, round)
		if err != nil {
			return nil, err
		}
		all.Samples = append(all.Samples, samples...)
	}
	if p.policies {
		if all.Policies, err = measurePolicies(ctx, p.dir, p.rounds); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (p *plan) round(ctx context.Context, round int) ([]sample, error) {
	var err error
	if p.infra, err = startInfra(ctx, p.jobs); err != nil {
		return nil, err
	}
	var teams []*team
	defer func() {
		for _, t := range teams {
			t.stop()
		}
		p.infra.stop()
	}()
	for _, r := range p.rows {
		t, err := p.start(ctx, r, peer.Config{Service: fmt.Sprintf("bench.%s.%d", strings.Map(nameRune, r.name), round), TCP: r.tcp})
		teams = append(teams, t)
		if err != nil {
			return nil, fmt.Errorf("row %q: %w", r.name, err)
		}
	}
	var samples []sample
	for _, j := range p.jobs {
		fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, p.rounds, j.name)
		able := slices.DeleteFunc(slices.Clone(teams), func(t *team) bool { return (t.instances == 0) != j.events() })
		if j.load > 0 {
			full := sample{Times: make(peer.Times)}
			all := j
			all.Duration = time.Second
			if err := able[0].do(all, &full); err != nil {
				return nil, err
			}
			j.Rate = full.perSec() * j.load
		}
		samples = append(samples, p.turns(able, j, round)...)
	}
	return samples, nil
}

// slice is how long a row has the machine before the next one has its turn:
// short, so that what else the machine does hits all of them.
const slice = 250 * time.Millisecond

// turns lets the rows do the job, by turns until each has had its time.
func (p *plan) turns(teams []*team, j job, round int) []sample {
	samples := make([]sample, len(teams))
	turns := max(1, int(p.duration/slice))
	if j.Kind == peer.ConsumeJob {
		turns = 1 // it takes as long as it takes
	}
	j.Duration = p.duration / time.Duration(turns)
	for turn := range turns {
		for i := range teams {
			i = (i + turn + round) % len(teams)
			s := &samples[i]
			if s.Times == nil {
				*s = sample{Row: teams[i].name, Job: j.name, Round: round, Times: make(peer.Times)}
			}
			if s.Failed != "" {
				continue
			}
			if err := teams[i].do(j, s); err != nil {
				fmt.Fprintf(os.Stderr, "row %q, %s: %v\n", s.Row, j.name, err)
				s.Failed = err.Error()
			}
		}
	}
	return samples
}

// team is the processes of a row.
type team struct {
	row

	servers []*process
	client  *process
}

// start completes the config by what the row and the infrastructure say.
func (p *plan) start(ctx context.Context, r row, c peer.Config) (*team, error) {
	t := &team{row: r}
	c.Mode, c.Registry, c.Broker = r.mode, p.infra.registry, p.infra.broker
	for i := range r.instances {
		s, err := p.child(ctx, r, c, fmt.Sprintf("server%d", i), "-serve")
		if err != nil {
			return t, err
		}
		t.servers = append(t.servers, s)
		c.Addrs = append(c.Addrs, s.addr)
	}
	var err error
	t.client, err = p.child(ctx, r, c, "client")
	return t, err
}

func nameRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

func (p *plan) child(ctx context.Context, r row, c peer.Config, role string, args ...string) (*process, error) {
	config, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	args = append(args, "-config", string(config))
	if p.profile != "" {
		args = append(args, "-profile", filepath.Join(p.profile, c.Service+"."+role))
	}
	return start(ctx, filepath.Join(p.dir, r.program), args...)
}

func (t *team) stop() {
	if t.client != nil {
		t.client.stop()
	}
	for _, s := range t.servers {
		s.stop()
	}
}

// do does the job and adds what came of it to s. It does it for a while first,
// in which pools and windows grow.
func (t *team) do(j job, s *sample) error {
	if j.Kind == peer.UnaryJob {
		j.Deadline = t.deadline
	}
	if warm := j.Job; j.Kind != peer.ConsumeJob {
		warm.Duration = j.Duration / 5
		if _, err := t.client.ask(peer.Request{Job: &warm}); err != nil {
			return err
		}
	}
	if _, err := t.serversUsage(); err != nil {
		return err
	}
	r, err := t.client.ask(peer.Request{Job: &j.Job})
	if err != nil {
		return err
	}
	server, err := t.serversUsage()
	if err != nil {
		return err
	}
	s.Calls += r.Result.Calls
	s.Elapsed += r.Result.Elapsed
	s.Times.Add(r.Result.Times)
	s.P99s = append(s.P99s, r.Result.Times.Quantile(0.99))
	s.Client, s.Server = s.Client.Add(r.Usage), s.Server.Add(server)
	return nil
}

// serversUsage is what they have used since the last time.
func (t *team) serversUsage() (peer.Usage, error) {
	var sum peer.Usage
	for _, s := range t.servers {
		r, err := s.ask(peer.Request{})
		if err != nil {
			return sum, err
		}
		sum = sum.Add(r.Usage)
	}
	return sum, nil
}
