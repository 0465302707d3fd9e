package lanes_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grpc-micro/micro/internal/lanes"
)

func TestPositionEncode(t *testing.T) {
	t.Parallel()
	for _, pos := range []lanes.Position{
		{},
		{Next: 7},
		{Next: 7, Finished: []lanes.Run{{From: 8, To: 9}}},
		{Next: 7, Finished: []lanes.Run{{From: 8, To: 9}, {From: 500, To: 70_000}, {From: 70_001, To: 1 << 40}}},
		{Finished: []lanes.Run{{From: 1, To: math.MaxInt64}}},
	} {
		text := pos.Encode(3000)
		if diff := cmp.Diff(pos, lanes.DecodePosition(pos.Next, text)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestPositionEncodeLeavesOutTheFarthest(t *testing.T) {
	t.Parallel()
	pos := lanes.Position{Next: 10}
	for i := range int64(10_000) {
		pos.Finished = append(pos.Finished, lanes.Run{From: 11 + 2*i, To: 12 + 2*i})
	}
	for _, limit := range []int{-1, 0, 5, 10, 11, 100, 3000} {
		text := pos.Encode(limit)
		if len(text) > max(limit, 0) {
			t.Errorf("Encode(%d) has %d bytes", limit, len(text))
		}
		got := lanes.DecodePosition(pos.Next, text)
		if diff := cmp.Diff(pos.Finished[:len(got.Finished)], got.Finished, cmp.Comparer(equalEmpty)); diff != "" {
			t.Errorf("Encode(%d): %s", limit, diff)
		}
		if limit == 3000 && len(got.Finished) < 1000 {
			t.Errorf("%d runs in 3000 bytes", len(got.Finished))
		}
	}
}

func equalEmpty(a, b []lanes.Run) bool {
	return cmp.Equal(append([]lanes.Run{}, a...), append([]lanes.Run{}, b...))
}

func TestDecodePositionIgnoresWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	for _, metadata := range []string{"", "x", "lanes1:", "lanes1:!", "lanes1:AA", "lanes1:AQ", "lanes1:gA", "lanes2:AQE", strings.Repeat("a", 5000)} {
		if diff := cmp.Diff(lanes.Position{Next: 5}, lanes.DecodePosition(5, metadata)); diff != "" {
			t.Errorf("%q: %s", metadata, diff)
		}
	}
	one := lanes.Position{Next: 5, Finished: []lanes.Run{{From: 6, To: 8}}}.Encode(100)
	for _, next := range []int64{-1, -2, math.MaxInt64, math.MaxInt64 - 2} {
		if diff := cmp.Diff(lanes.Position{Next: next}, lanes.DecodePosition(next, one)); diff != "" {
			t.Errorf("%d: %s", next, diff)
		}
	}
}

func FuzzDecodePosition(f *testing.F) {
	f.Add(int64(0), "")
	f.Add(int64(7), lanes.Position{Next: 7, Finished: []lanes.Run{{From: 8, To: 9}, {From: 500, To: 70_000}}}.Encode(3000))
	f.Add(int64(math.MaxInt64), "lanes1:AQE")
	f.Fuzz(func(t *testing.T, next int64, metadata string) {
		pos := lanes.DecodePosition(next, metadata)
		if pos.Next != next {
			t.Fatalf("Next = %d, want %d", pos.Next, next)
		}
		at := next
		for _, r := range pos.Finished {
			if r.From <= at || r.To <= r.From {
				t.Fatalf("runs are not ascending: %v", pos)
			}
			at = r.To
		}
		if diff := cmp.Diff(pos, lanes.DecodePosition(next, pos.Encode(math.MaxInt32))); diff != "" {
			t.Fatal(diff)
		}
	})
}
