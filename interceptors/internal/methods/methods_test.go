package methods_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/grpc-micro/micro/interceptors/internal/methods"
)

func TestTable(t *testing.T) {
	t.Parallel()
	var made atomic.Int64
	table := methods.Table[string]{New: func(fullMethod string) *string {
		made.Add(1)
		return &fullMethod
	}}
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for i := range 50 {
				name := fmt.Sprintf("/a.B/C%d", i)
				if first, second := table.Get(name), table.Get(name); *first != name || first != second {
					t.Errorf("%q at %p, then %q at %p, want %q", *first, first, *second, second, name)
				}
			}
		})
	}
	callers.Wait()
	if n, all := made.Load(), len(table.All()); n != 50 || all != 50 {
		t.Errorf("%d made, %d there, want 50", n, all)
	}
}

func TestNoAllocation(t *testing.T) { // alone, because it counts
	table := methods.Table[int]{New: func(string) *int { return new(int) }}
	if n := testing.AllocsPerRun(100, func() { table.Get("/a.B/C") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for fullMethod, want := range map[string][2]string{
		"/a.B/C": {"a.B", "C"},
		"a.B/C":  {"a.B", "C"},
		"/a.B":   {"unknown", "unknown"},
		"":       {"unknown", "unknown"},
	} {
		if service, method := methods.Split(fullMethod); [2]string{service, method} != want {
			t.Errorf("%q is %q and %q", fullMethod, service, method)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	table := methods.Table[int]{New: func(string) *int { return new(int) }}
	for i := range 100 {
		table.Get(fmt.Sprintf("/some.service.v1.Name/Method%d", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		table.Get("/some.service.v1.Name/Method50")
	}
}
