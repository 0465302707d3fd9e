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

	"github.com/grpc-micro/micro/bench/peer"
)

// loadResults are all samples of a run with -load.
type loadResults struct {
	Samples []loadSample
}

// loadColumn is a figure in the tables and a panel in the chart.
type loadColumn struct {
	name   string
	of     func(loadSample) float64 // 0: it is none of this curve's
	format func(float64) string
	kind   columnKind
	chart  bool
}

type columnKind int

const (
	absolute columnKind = iota // it means the same on every machine, or there is nothing to compare it with
	ratio                      // × raw's in the same round, but in raw's own line
	slope                      // with what one more caller, stream or instance adds to it
)

var loadColumns = []loadColumn{
	{"until all are ready", func(s loadSample) float64 { return float64(s.Setup) }, nanoseconds, absolute, true},
	{"CPU until then", func(s loadSample) float64 { return float64(s.SetupCPU) }, nanoseconds, absolute, false},
	{"calls/s", func(s loadSample) float64 { return s.perSec() }, func(f float64) string { return fmt.Sprintf("%.0f", f) }, ratio, true},
	{"p50", func(s loadSample) float64 { return float64(s.Times.Quantile(0.5)) }, nanoseconds, ratio, false},
	{"p99", func(s loadSample) float64 { return p99(s.sample) }, nanoseconds, ratio, true},
	{"p50 of one caller", func(s loadSample) float64 { return float64(s.One.Quantile(0.5)) }, nanoseconds, ratio, false},
	{"client CPU", func(s loadSample) float64 { return float64(s.Client.CPU) / float64(s.Calls) }, nanoseconds, ratio, false},
	{"server CPU", func(s loadSample) float64 { return float64(s.Server.CPU) / float64(s.Calls) }, nanoseconds, ratio, false},
	{"client memory", func(s loadSample) float64 { return s.memory(s.ClientMemory) }, mebibytes, slope, true},
	{"server memory", func(s loadSample) float64 { return s.memory(s.ServerMemory) }, mebibytes, slope, true},
	{"client goroutines", func(s loadSample) float64 { return float64(s.ClientMemory.Goroutines) }, whole, absolute, false},
	{"server goroutines", func(s loadSample) float64 { return float64(s.ServerMemory.Goroutines) }, whole, absolute, false},
	{"client allocs", func(s loadSample) float64 { return float64(s.Client.Allocs) / float64(s.Calls) }, allocs, absolute, false},
	{"server allocs", func(s loadSample) float64 { return float64(s.Server.Allocs) / float64(s.Calls) }, allocs, absolute, false},
	{"pick", func(s loadSample) float64 { return float64(s.Pick) }, nanoseconds, absolute, true},
	{"CPU a change", func(s loadSample) float64 { return float64(s.Change) }, nanoseconds, absolute, true},
	{"p99 beside changes", func(s loadSample) float64 { return float64(s.Changing.Quantile(0.99)) }, nanoseconds, ratio, false},
}

// memory is what is held, or, in a curve that holds nothing, the most that the
// calls took.
func (s loadSample) memory(m peer.Memory) float64 {
	if s.Setup > 0 {
		return float64(m.Resident)
	}
	return float64(m.Peak)
}

func whole(f float64) string { return fmt.Sprintf("%.0f", f) }

func mebibytes(f float64) string { return fmt.Sprintf("%.0f MiB", f/(1<<20)) }

func bytesEach(f float64) string {
	if math.Abs(f) < 10<<10 {
		return fmt.Sprintf("%.0f B", f)
	}
	return fmt.Sprintf("%.0f KiB", f/(1<<10))
}

// of returns what a row did at a point, in the rounds in which it did not fail.
func (r *loadResults) of(curve string, at int, row string) []loadSample {
	var out []loadSample
	for _, s := range r.Samples {
		if s.Job == curve && s.At == at && s.Row == row && s.Failed == "" {
			out = append(out, s)
		}
	}
	return out
}

// figure is a column of a row at a point, over the rounds.
func (r *loadResults) figure(c loadColumn, curve string, at int, row string) spread {
	var values []float64
	for _, s := range r.of(curve, at, row) {
		v := c.of(s)
		if c.kind == ratio && row != callsBase {
			v = math.NaN()
			for _, base := range r.of(curve, at, callsBase) {
				if base.Round == s.Round {
					v = c.of(s) / c.of(base)
				}
			}
		}
		if v > 0 { // neither none of this curve's, nor without a base
			values = append(values, v)
		}
	}
	return spreadOf(values)
}

// points and rows of a curve, in the order in which they were measured first.
func (r *loadResults) points(curve string) []int {
	return distinct(r.Samples, curve, func(s loadSample) int { return s.At })
}

func (r *loadResults) rows(curve string) []string {
	return distinct(r.Samples, curve, func(s loadSample) string { return s.Row })
}

func distinct[T comparable](samples []loadSample, curve string, of func(loadSample) T) []T {
	var out []T
	for _, s := range samples {
		if s.Job == curve && !slices.Contains(out, of(s)) {
			out = append(out, of(s))
		}
	}
	return out
}

// columns returns those of which the curve has figures.
func (r *loadResults) columns(curve string) []loadColumn {
	var out []loadColumn
	for _, c := range loadColumns {
		if slices.ContainsFunc(r.Samples, func(s loadSample) bool { return s.Job == curve && s.Failed == "" && c.of(s) > 0 }) {
			out = append(out, c)
		}
	}
	return out
}

// markdown has a table a curve, with a line a row and point.
func (r *loadResults) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, %d processors. Calls a second and times of calls are absolute for raw, and × raw's in the same round for the others: the median (least–most). In brackets behind memory, what one more adds from the point before.\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	for _, curve := range curves {
		columns := r.columns(curve.name)
		if len(columns) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n**%s**\n\n| %s | |", curve.name, curve.unit)
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", c.name)
		}
		fmt.Fprintf(&b, "\n|---|---%s|\n", strings.Repeat("|---", len(columns)))
		for i, at := range r.points(curve.name) {
			for _, row := range r.rows(curve.name) {
				fmt.Fprintf(&b, "| %d | %s |", at, row)
				for _, c := range columns {
					fmt.Fprintf(&b, " %s |", r.cell(c, curve.name, i, row))
				}
				b.WriteByte('\n')
			}
		}
		r.failures(&b, curve)
	}
	return b.String()
}

func (r *loadResults) failures(b *strings.Builder, c curve) {
	for _, s := range r.Samples {
		if s.Job == c.name && s.Failed != "" {
			fmt.Fprintf(b, "\n%s failed with %d %s in round %d.\n", s.Row, s.At, c.unit, s.Round+1)
		}
	}
}

func (r *loadResults) cell(c loadColumn, curve string, point int, row string) string {
	points := r.points(curve)
	s := r.figure(c, curve, points[point], row)
	switch {
	case math.IsNaN(s.Median):
		return ""
	case c.kind == ratio && row != callsBase:
		return fmt.Sprintf("**%.2f** (%.2f–%.2f)", s.Median, s.Min, s.Max)
	case c.kind == slope && point > 0:
		before := r.figure(c, curve, points[point-1], row)
		return fmt.Sprintf("%s (%s)", c.format(s.Median), bytesEach((s.Median-before.Median)/float64(points[point]-points[point-1])))
	}
	return c.format(s.Median)
}

func (r *loadResults) write(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(dir, 0o750),
		os.WriteFile(filepath.Join(dir, "load.json"), append(data, '\n'), 0o600),
		os.WriteFile(filepath.Join(dir, "load.md"), []byte(r.markdown()), 0o600),
		os.WriteFile(filepath.Join(dir, "load.svg"), []byte(r.chart()), 0o600))
}
