package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/grpc-micro/micro/bench/peer"
)

// TestLoad is all of -load but for its numbers: every curve with its rows, at
// points that take a moment.
func TestLoad(t *testing.T) {
	few := map[string][]int{"callers": {2}, "sizes": {5 << 20}, "streams": {100, 200}, "instances": {1, 3}}
	var tiny []curve
	for _, c := range curves {
		c.points = few[c.name]
		if c.name == "instances" && runtime.GOOS != "linux" {
			c.points = c.points[:1] // others have one address of loopback
		}
		tiny = append(tiny, c)
	}
	p := plan{rounds: 1, duration: 100 * time.Millisecond}
	r, err := p.runLoad(t.Context(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range tiny {
		for _, n := range c.points {
			for _, row := range c.rows {
				samples := r.of(c.name, n, row.name)
				if len(samples) != 1 {
					t.Errorf("%s %d, %s: %d samples that did not fail", c.name, n, row.name, len(samples))
					continue
				}
				checkLoad(t, samples[0], c.at(n))
			}
		}
	}
	dir := t.TempDir()
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(dir, "load.md"))
	if err != nil || !bytes.Contains(table, []byte("| 200 | micro, chain and deadline | ")) {
		t.Errorf("%v; the table is\n%s", err, table)
	}
}

func checkLoad(t *testing.T, s loadSample, at point) {
	t.Helper()
	fail := func(what string) { t.Errorf("%s %d, %s: %s: %+v", s.Job, s.At, s.Row, what, s) }
	switch {
	case s.Calls == 0 || s.Times.Quantile(0.5) == 0:
		fail("no calls")
	case s.ClientMemory.Goroutines < at.open || s.ServerMemory.Goroutines < at.open:
		fail("fewer goroutines than streams")
	case runtime.GOOS == "linux" && (s.ClientMemory.Resident < 1<<20 || s.ServerMemory.Peak < s.ServerMemory.Resident):
		fail("memory")
	case (at.open > 0 || at.fleet > 0) && (s.Setup == 0 || len(s.One) == 0):
		fail("nothing was set up")
	case at.fleet > 0 && s.Pick == 0:
		fail("no picks")
	case at.fleet > 1 && (s.Change == 0 || len(s.Changing) == 0):
		fail("no changes")
	}
}

func TestLoadTableAndChart(t *testing.T) {
	t.Parallel()
	var r loadResults
	for round := range 2 {
		for _, at := range []int{1000, 10_000} {
			for i, row := range []string{callsBase, "micro"} {
				held := peer.Memory{Resident: uint64(at) << 10, Goroutines: at}
				r.Samples = append(r.Samples, loadSample{
					sample: sample{Row: row, Job: "streams", Round: round, Calls: int64(1000 * (1 + i)), Elapsed: time.Second, Times: peer.Times{10: 1}},
					At:     at, Setup: time.Second, ClientMemory: held, ServerMemory: held,
				})
			}
		}
	}
	r.Samples = append(r.Samples, loadSample{sample: sample{Row: "micro", Job: "streams", Round: 2, Failed: "no"}, At: 1000})
	table := r.markdown()
	for _, want := range []string{
		"| 1000 | raw | 1000.0ms | 1000 | ",
		"| 10000 | micro | 1000.0ms | **2.00** (2.00–2.00) | ",
		" 10 MiB (1024 B) |", // a KiB for each of 9,000
		"\nmicro failed with 1000 idle streams in round 3.\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table has no %q:\n%s", want, table)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(r.chart())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart is no XML: %v", err)
		}
	}
}

func TestSelectCurves(t *testing.T) {
	t.Parallel()
	got := selectCurves(selected("instances 10000,callers"), selected("chain"))
	points, rows := make(map[string]int), make(map[string]int)
	for _, c := range got {
		points[c.name], rows[c.name] = len(c.points), len(c.rows)
	}
	if points["callers"] != 5 || points["instances"] != 1 || points["sizes"] != 0 || rows["callers"] != 2 || rows["instances"] != 1 {
		t.Errorf("points %v, rows %v", points, rows)
	}
}
