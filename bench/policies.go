package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// policies are ours, and grpc's that does the same.
var policies = map[string]string{
	"micro_round_robin":   "round_robin",
	"micro_least_request": "least_request_experimental",
}

// figure is what one benchmark of package balancer took, once.
type figure struct {
	Policy, What string
	Nanoseconds  float64
	Allocs       float64
}

// measurePolicies runs the benchmarks of package balancer: a pick, bringing many
// instances up, one change among them. Each round is a run of all of them.
func measurePolicies(ctx context.Context, dir string, rounds int) ([]figure, error) {
	program := filepath.Join(dir, "balancer.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-C", "..", "-c", "-o", program, "./balancer")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go test -c ./balancer: %w", err)
	}
	var all []figure
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d: policies\n", round+1, rounds)
		cmd := exec.CommandContext(ctx, program, "-test.run=^$", "-test.bench=^Benchmark(Pick|BringUp|Change)$", "-test.benchtime=20ms")
		cmd.Dir = filepath.Join("..", "balancer")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("benchmarks of package balancer: %w\n%s", err, out)
		}
		all = append(all, parseFigures(out)...)
	}
	return all, nil
}

// parseFigures reads lines such as
//
//	BenchmarkPick/micro_round_robin/3/plain-2  1000  10.1 ns/op  0 B/op  0 allocs/op
func parseFigures(out []byte) []figure {
	var all []figure
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		name, ok := strings.CutPrefix(strings.Join(fields[:min(1, len(fields))], ""), "Benchmark")
		parts := strings.Split(name, "/")
		if !ok || len(parts) < 3 {
			continue
		}
		last := len(parts) - 1
		parts[last], _, _ = strings.Cut(parts[last], "-") // the processors
		f := figure{Policy: parts[1]}
		f.What = strings.Join(slices.Delete(parts, 1, 2), " ")
		for i, unit := range fields {
			switch unit {
			case "ns/op":
				f.Nanoseconds, _ = strconv.ParseFloat(fields[i-1], 64)
			case "allocs/op":
				f.Allocs, _ = strconv.ParseFloat(fields[i-1], 64)
			}
		}
		all = append(all, f)
	}
	return all
}

// policiesMarkdown has a line a benchmark of ours, beside grpc's where that
// has it.
func policiesMarkdown(figures []figure) string {
	var b strings.Builder
	b.WriteString("\n**policies**\n\n| | policy | time | allocs | × grpc's |\n|---|---|---|---|---|\n")
	medians := func(policy, what string) (times, allocs spread) {
		var t, a []float64
		for _, f := range figures {
			if f.Policy == policy && f.What == what {
				t, a = append(t, f.Nanoseconds), append(a, f.Allocs)
			}
		}
		return spreadOf(t), spreadOf(a)
	}
	seen := make(map[string]bool)
	for _, f := range figures {
		if seen[f.Policy+f.What] || !strings.HasPrefix(f.Policy, "micro_") {
			continue
		}
		seen[f.Policy+f.What] = true
		times, allocs := medians(f.Policy, f.What)
		beside := ""
		if theirs, _ := medians(policies[f.Policy], f.What); theirs.Median > 0 {
			beside = fmt.Sprintf("**%.3g** (%.3g–%.3g)", times.Median/theirs.Median, times.Min/theirs.Max, times.Max/theirs.Min)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %.0f | %s |\n", f.What, f.Policy, nanoseconds(times.Median), allocs.Median, beside)
	}
	return b.String()
}
