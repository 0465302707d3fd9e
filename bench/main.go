// Bench measures micro beside raw grpc-go and other frameworks, on this
// machine, in one run:
//
//	go -C bench run .
//
// README.md says what the rows and the figures mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

type flags struct {
	quick    bool
	load     bool
	settings bool
	rows     string
	jobs     string
	rounds   int
	duration time.Duration
	out      string
	profile  string
}

func main() {
	var f flags
	flag.BoolVar(&f.quick, "quick", false, "a minute for CI: few rows and jobs, and an exit status of 1 if one is below its guard")
	flag.BoolVar(&f.load, "load", false, "instead of all that: the cost as callers, messages, streams and instances grow; -jobs takes curves, such as \"callers,streams\"")
	flag.BoolVar(&f.settings, "settings", false, "instead of the rows: grpc's settings, one by one")
	flag.StringVar(&f.rows, "rows", "", "only rows with one of these in their name (\"micro,kratos\"), and what they are compared with")
	flag.StringVar(&f.jobs, "jobs", "", "only jobs with one of these in their name: \"unary 100B ×64,stream,policies\"")
	flag.IntVar(&f.rounds, "rounds", 5, "how often each row does each job")
	flag.DurationVar(&f.duration, "duration", 2*time.Second, "how long it does it, each time")
	flag.StringVar(&f.out, "out", "results", "where to write results.md, results.json and chart.svg; \"\": nowhere")
	flag.StringVar(&f.profile, "profile", "", "write CPU and allocation profiles of every process into this folder")
	infra := flag.Bool("infra", false, "serve etcd and Kafka for the others; for the benchmark itself")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := func() error { return bench(ctx, f) }
	if *infra {
		run = func() error { return serveInfra(ctx, flag.Args()) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to stop
	}
}

// selected tells which names have a part that is in a list.
func selected(list string) func(name string) bool {
	return func(name string) bool {
		return list == "" || slices.ContainsFunc(strings.Split(list, ","), func(part string) bool { return strings.Contains(name, part) })
	}
}

func bench(ctx context.Context, f flags) error {
	if f.quick {
		f = f.quickened()
	}
	if f.load {
		return benchLoad(ctx, f)
	}
	p := plan{
		rows: selectRows(selected(f.rows), f.settings), jobs: selectJobs(selected(f.jobs)),
		rounds: f.rounds, duration: f.duration, profile: f.profile,
		policies: selected(f.jobs)("policies"),
	}
	results, err := p.run(ctx)
	if err != nil {
		return err
	}
	fmt.Print(results.markdown())
	if f.out != "" {
		if err := results.write(f.out); err != nil {
			return err
		}
	}
	if f.quick {
		return results.guard()
	}
	return nil
}

// benchLoad does with -load what bench does without.
func benchLoad(ctx context.Context, f flags) error {
	set := make(map[string]bool)
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["rounds"] {
		f.rounds = 2
	}
	if !set["duration"] {
		f.duration = time.Second
	}
	p := plan{rounds: f.rounds, duration: f.duration, profile: f.profile}
	results, err := p.runLoad(ctx, selectCurves(selected(f.jobs), selected(f.rows)))
	if err != nil {
		return err
	}
	fmt.Print(results.markdown())
	if f.out == "" {
		return nil
	}
	return results.write(f.out)
}

// quickened keeps what was set by hand.
func (f flags) quickened() flags {
	set := make(map[string]bool)
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["rows"] {
		f.rows = "micro"
	}
	if !set["jobs"] {
		f.jobs = "unary 100B ×64,unary 1KiB ×64,stream 100B ×64,publish 100B"
	}
	if !set["rounds"] {
		f.rounds = 4
	}
	if !set["duration"] {
		f.duration = 500 * time.Millisecond
	}
	if !set["out"] {
		f.out = ""
	}
	return f
}

var errBelow = errors.New("below the guard")
