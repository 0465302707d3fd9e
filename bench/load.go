package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/grpc-micro/micro/bench/peer"
)

// curve is one load that grows: at each of its points, every one of its rows
// has fresh processes.
type curve struct {
	name   string
	unit   string // what there is more and more of
	points []int
	rows   []row
	most   map[string]int // of the points, for rows that do not take more
	at     func(n int) point
}

// point is what is done where there are so many.
type point struct {
	config peer.Config
	open   int // streams that are idle beside the calls
	fleet  int // instances
	job    peer.Job
	slice  time.Duration // how long a row has the machine before the next one's turn
}

var (
	loadRaw    = row{name: callsBase, program: "raw", instances: 1}
	loadHealth = row{name: "raw, health checks", program: "raw", mode: "health", instances: 1}
	loadMicro  = row{name: "micro", program: "micro", instances: 1}
	loadChain  = row{name: "micro, chain and deadline", program: "micro", mode: "chain", instances: 1, deadline: time.Minute}
	loadSubset = row{name: "micro, subset of 20", program: "micro", mode: "subset", instances: 1}
)

// curves are what is measured as load grows.
var curves = []curve{
	{
		name: "callers", unit: "callers", points: []int{1, 10, 100, 1000, 10_000},
		rows: []row{loadRaw, loadMicro, loadChain},
		at: func(n int) point {
			// Each caller has some calls in its slice, even if there are many.
			return point{job: peer.Job{Kind: peer.UnaryJob, Size: 100, Callers: n}, slice: slice + time.Duration(n)*100*time.Microsecond}
		},
	},
	{
		name: "sizes", unit: "bytes a message", points: []int{100, 1 << 10, 16 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20},
		rows: []row{loadRaw, loadMicro, loadChain},
		at: func(n int) point {
			const headers = 1 << 10 // of protobuf, round the payload
			return point{config: peer.Config{MaxMessage: max(4<<20, n+headers)}, job: peer.Job{Kind: peer.UnaryJob, Size: n, Callers: 8}, slice: slice}
		},
	},
	{
		name: "streams", unit: "idle streams", points: []int{1000, 10_000, 100_000},
		rows: []row{loadRaw, loadMicro, loadChain},
		at: func(n int) point {
			return point{open: n, job: peer.Job{Kind: peer.UnaryJob, Size: 100, Callers: 64}, slice: slice}
		},
	},
	{
		name: "instances", unit: "instances", points: []int{1, 10, 100, 1000, 10_000},
		rows: []row{loadRaw, loadHealth, loadMicro, loadSubset},
		most: map[string]int{loadHealth.name: 1000}, // it takes minutes to bring 10,000 up
		at: func(n int) point {
			return point{config: peer.Config{Instances: n}, fleet: n, job: peer.Job{Kind: peer.UnaryJob, Size: 100, Callers: 64}, slice: slice}
		},
	},
}

// loadSample is what a row did at a point of a curve in one round.
type loadSample struct {
	sample // Job is the curve

	At           int
	ClientMemory peer.Memory // at rest where something is held, else after the calls
	ServerMemory peer.Memory
	Setup        time.Duration // until all streams were open or all instances ready
	SetupCPU     time.Duration // that both sides used until then
	One          peer.Times    // calls by one caller
	Pick         time.Duration
	Change       time.Duration // CPU of the client for a change of one instance
	Changing     peer.Times    // calls at half of raw's rate, beside changes
}

// selectCurves takes points whose names are such as "callers 100", and raw, too.
func selectCurves(wanted, of func(string) bool) []curve {
	out := make([]curve, 0, len(curves))
	for _, c := range curves {
		c.points = slices.DeleteFunc(slices.Clone(c.points), func(n int) bool { return !wanted(fmt.Sprintf("%s %d", c.name, n)) })
		c.rows = slices.DeleteFunc(slices.Clone(c.rows), func(r row) bool { return r.name != callsBase && !of(r.name) })
		out = append(out, c)
	}
	return out
}

// runLoad measures the curves.
func (p *plan) runLoad(ctx context.Context, curves []curve) (all *loadResults, err error) {
	if p.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.dir)) }()
	if err := build(ctx, p.dir, []row{loadRaw, loadMicro}); err != nil {
		return nil, err
	}
	if p.infra, err = startInfra(ctx, nil); err != nil {
		return nil, err
	}
	defer p.infra.stop()
	all = &loadResults{}
	for round := range p.rounds {
		for _, c := range curves {
			for _, n := range c.points {
				fmt.Fprintf(os.Stderr, "round %d of %d: %d %s\n", round+1, p.rounds, n, c.unit)
				samples, err := p.loadPoint(ctx, c, n, round)
				if err != nil {
					return nil, fmt.Errorf("%d %s: %w", n, c.unit, err)
				}
				all.Samples = append(all.Samples, samples...)
			}
		}
	}
	return all, nil
}

// loadPoint starts the rows one after the other, each with a machine that has
// nothing else to do, and lets them take turns then.
func (p *plan) loadPoint(ctx context.Context, c curve, n, round int) ([]loadSample, error) {
	at := c.at(n)
	var squads []*squad
	defer func() {
		for _, s := range squads {
			s.stop()
		}
	}()
	for i := range c.rows {
		r := c.rows[(i+round)%len(c.rows)]
		if most, ok := c.most[r.name]; ok && n > most {
			continue
		}
		config := at.config
		config.TCP = true
		config.Service = fmt.Sprintf("bench.%s.%s.%d.%d", strings.Map(nameRune, r.name), c.name, n, round)
		t, err := p.start(ctx, r, config)
		s := &squad{team: t, point: at, registry: p.infra.registry, service: config.Service}
		squads = append(squads, s)
		if err != nil {
			return nil, fmt.Errorf("row %q: %w", r.name, err)
		}
		s.got = loadSample{sample: sample{Row: r.name, Job: c.name, Round: round, Times: make(peer.Times)}, At: n}
		s.try(func() error { return s.prepare(ctx) })
	}
	p.loadTurns(squads)
	var samples []loadSample
	for _, s := range squads {
		s.try(s.finish)
		samples = append(samples, s.got)
	}
	return samples, nil
}

// loadTurns lets all do the job, by turns, and then, where there are many
// instances, half of what raw does of it while instances change.
func (p *plan) loadTurns(squads []*squad) {
	at := squads[0].point
	turns := max(2, int(p.duration/at.slice))
	for turn := range turns {
		for i := range squads {
			s := squads[(i+turn)%len(squads)]
			j := job{Job: at.job}
			j.Duration = at.slice
			s.try(func() error { return s.do(j, &s.got.sample) })
		}
	}
	base := slices.IndexFunc(squads, func(s *squad) bool { return s.name == callsBase })
	if at.fleet == 0 || base < 0 || squads[base].got.Failed != "" {
		return
	}
	rate := squads[base].got.perSec() / 2
	for _, s := range squads {
		s.try(func() error { return s.change(rate, p.duration) })
	}
}
