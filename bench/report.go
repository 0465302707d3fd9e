package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// results are all samples of a run.
type results struct {
	Samples  []sample
	Policies []figure `json:",omitempty"`
}

// spread is a figure of one row and job over the rounds.
type spread struct{ Median, Min, Max float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	slices.Sort(values)
	n := len(values)
	return spread{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

// of returns the samples of a row and job that did not fail.
func (r *results) of(row, job string) []sample {
	var out []sample
	for _, s := range r.Samples {
		if s.Row == row && s.Job == job && s.Failed == "" {
			out = append(out, s)
		}
	}
	return out
}

// values is a figure of a row.
func (r *results) values(row, job string, figure func(sample) float64) spread {
	samples := r.of(row, job)
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = figure(s)
	}
	return spreadOf(all)
}

// ratio compares a row with the base, round by round.
func (r *results) ratio(row, job string, figure func(sample) float64) spread {
	var ratios []float64
	for _, ours := range r.of(row, job) {
		for _, theirs := range r.of(r.base(job), job) {
			if theirs.Round == ours.Round {
				ratios = append(ratios, figure(ours)/figure(theirs))
			}
		}
	}
	return spreadOf(ratios)
}

// column is one of the table's.
type column struct {
	name   string
	of     func(sample) float64
	format func(float64) string
	ratios bool // × the base; otherwise the figure itself, which means the same on every machine
}

var columns = []column{
	{"calls/s", sample.perSec, func(f float64) string { return fmt.Sprintf("%.0f", f) }, true},
	{"p50", quantile(0.5), nanoseconds, true},
	{"p99", p99, nanoseconds, true},
	{"p99.9", quantile(0.999), nanoseconds, true},
	{"client CPU", perCall(func(s sample) float64 { return float64(s.Client.CPU) }), nanoseconds, true},
	{"server CPU", perCall(func(s sample) float64 { return float64(s.Server.CPU) }), nanoseconds, true},
	{"client allocs", perCall(func(s sample) float64 { return float64(s.Client.Allocs) }), allocs, false},
	{"server allocs", perCall(func(s sample) float64 { return float64(s.Server.Allocs) }), allocs, false},
}

func quantile(q float64) func(sample) float64 {
	return func(s sample) float64 { return float64(s.Times.Quantile(q)) }
}

// p99 is that of the turn in the middle. In all turns together it would be that
// of the few in which the machine had something else to do.
func p99(s sample) float64 {
	turns := make([]float64, len(s.P99s))
	for i, d := range s.P99s {
		turns[i] = float64(d)
	}
	return spreadOf(turns).Median
}

func perCall(of func(sample) float64) func(sample) float64 {
	return func(s sample) float64 { return of(s) / float64(s.Calls) }
}

func allocs(f float64) string { return fmt.Sprintf("%.1f", f) }

func nanoseconds(f float64) string {
	switch {
	case f < 1e3:
		return fmt.Sprintf("%.1fns", f)
	case f < 1e6:
		return fmt.Sprintf("%.1fµs", f/1e3)
	}
	return fmt.Sprintf("%.1fms", f/1e6)
}

// base is the row that the others of a job are compared with.
func (r *results) base(job string) string {
	names := r.rowNames(job)
	for _, row := range rows {
		if row.name == names[0] {
			return row.base()
		}
	}
	return ""
}

// names returns the values of a field in the order of their first sample.
func (r *results) names(of func(sample) string) []string {
	var out []string
	for _, s := range r.Samples {
		if !slices.Contains(out, of(s)) {
			out = append(out, of(s))
		}
	}
	return out
}

func (r *results) jobNames() []string { return r.names(func(s sample) string { return s.Job }) }

// rowNames are those of one job, in the order of the table of rows.
func (r *results) rowNames(job string) []string {
	var out []string
	for _, row := range rows {
		if len(r.of(row.name, job)) > 0 {
			out = append(out, row.name)
		}
	}
	return out
}

// markdown has a table a job: for the base what a call takes, for the others
// the ratios to it.
func (r *results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, %d processors. Allocations are a call; all else is absolute in the first row, and × that in the others, in the same round: the median (least–most).\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	for _, job := range r.jobNames() {
		fmt.Fprintf(&b, "\n**%s**\n\n| |", job)
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", c.name)
		}
		fmt.Fprintf(&b, "\n|---%s|\n", strings.Repeat("|---", len(columns)))
		for _, row := range r.rowNames(job) {
			fmt.Fprintf(&b, "| %s |", row)
			for i, c := range columns {
				fmt.Fprintf(&b, " %s |", r.cell(row, job, c, i == 0))
			}
			b.WriteByte('\n')
		}
		for _, s := range r.failed(job) {
			fmt.Fprintf(&b, "\n%s failed in round %d.\n", s.Row, s.Round+1)
		}
	}
	if len(r.Policies) > 0 {
		b.WriteString(policiesMarkdown(r.Policies))
	}
	return b.String()
}

func (r *results) failed(job string) []sample {
	var out []sample
	for _, s := range r.Samples {
		if s.Job == job && s.Failed != "" {
			out = append(out, s)
		}
	}
	return out
}

func (r *results) cell(row, job string, c column, first bool) string {
	values := r.values(row, job, c.of)
	ratios := c.ratios && row != r.base(job)
	if ratios {
		values = r.ratio(row, job, c.of)
	}
	switch {
	case math.IsNaN(values.Median) || values.Max == 0:
		return "" // there is no server, or nobody waits for one call
	case !ratios:
		return c.format(values.Median)
	case first:
		return fmt.Sprintf("**%.2f** (%.2f–%.2f)", values.Median, values.Min, values.Max)
	}
	return fmt.Sprintf("%.2f", values.Median)
}

func (r *results) write(dir string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(dir, 0o750),
		os.WriteFile(filepath.Join(dir, "results.json"), append(data, '\n'), 0o600),
		os.WriteFile(filepath.Join(dir, "results.md"), []byte(r.markdown()), 0o600),
		os.WriteFile(filepath.Join(dir, "chart.svg"), []byte(r.chart()), 0o600))
}

// guard reports the rows that are slower than they may be, or fail.
func (r *results) guard() error {
	var errs []error
	for _, job := range r.jobNames() {
		for _, s := range r.failed(job) {
			errs = append(errs, fmt.Errorf("%s, %s: %s", s.Row, job, s.Failed))
		}
		for _, row := range rows {
			if len(r.of(row.name, job)) == 0 || row.guard == 0 {
				continue
			}
			// The best round: on a busy machine the others say little.
			if s := r.ratio(row.name, job, sample.perSec); s.Max < row.guard {
				errs = append(errs, fmt.Errorf("%w: %s, %s: at most %.2f × %s, %.2f is wanted", errBelow, row.name, job, s.Max, row.base(), row.guard))
			}
		}
	}
	return errors.Join(errs...)
}
