package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/grpc-micro/micro/bench/peer"
)

// two is a run of two rounds, in which micro does what the machine is too busy
// for in the other.
func two(first, second int64) *results {
	var r results
	for round, n := range []int64{first, second} {
		for row, calls := range map[string]int64{callsBase: 1000, "micro": n} {
			r.Samples = append(r.Samples, sample{
				Row: row, Job: "unary 100B ×64", Round: round, Calls: calls, Elapsed: time.Second,
				Times: peer.Times{10: uint64(calls)}, P99s: []time.Duration{1, 10, time.Second}, Client: peer.Usage{Allocs: uint64(2 * calls)},
			})
		}
	}
	return &r
}

func TestRatios(t *testing.T) {
	t.Parallel()
	got := two(500, 1500).ratio("micro", "unary 100B ×64", sample.perSec)
	if want := (spread{1, 0.5, 1.5}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	if err := two(100, 1000).guard(); err != nil {
		t.Errorf("one good round is enough: %v", err)
	}
	if err := two(100, 200).guard(); !errors.Is(err, errBelow) {
		t.Errorf("%v, want errBelow", err)
	}
}

func TestTableAndChart(t *testing.T) {
	t.Parallel()
	r := two(500, 1500)
	if table := r.markdown(); !strings.Contains(table, "| micro | **1.00** (0.50–1.50) | 1.00 | 1.00 | 1.00 |  |  | 2.0 |  |\n") {
		t.Errorf("the table has no such line:\n%s", table)
	}
	for d := xml.NewDecoder(strings.NewReader(r.chart())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart is no XML: %v", err)
		}
	}
}

func TestParseFigures(t *testing.T) {
	t.Parallel()
	got := parseFigures([]byte(`goos: linux
BenchmarkPick/micro_round_robin/3/plain-2         	 2286459	         9.719 ns/op	       0 B/op	       1 allocs/op
PASS
`))
	if len(got) != 1 || got[0] != (figure{"micro_round_robin", "Pick 3 plain", 9.719, 1}) {
		t.Errorf("%+v", got)
	}
}
