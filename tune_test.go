package micro_test

import (
	"io/fs"
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/fstest"

	"github.com/grpc-micro/micro"
)

func TestTuningPlan(t *testing.T) {
	t.Parallel()
	const mib, none = 1 << 20, math.MaxInt64
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, test := range map[string]struct {
		root     fs.FS
		gogc     bool
		limit    int64 // GOMEMLIMIT
		headroom int64
		want     int64
		by       string
	}{
		"nothing": {fstest.MapFS{}, false, none, 64 * mib, none, ""},
		"no limit, version 2": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("max\n"),
		}, false, none, 64 * mib, none, ""},
		"a pod's": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("1048576000\n"),
		}, false, none, 64 * mib, 943718400 + 64*mib, "cgroup"},
		"a small one": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("83886080\n"),
		}, false, none, 10 * mib, 72*mib + 10*mib, "cgroup"},
		"that of a parent is less": {fstest.MapFS{
			"proc/self/cgroup":             file("0::/a/b/c\n"),
			"sys/fs/cgroup/a/memory.max":   file("83886080\n"),
			"sys/fs/cgroup/a/b/memory.max": file("1048576000\n"),
		}, false, none, 10 * mib, 72*mib + 10*mib, "cgroup"},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup": file("7:cpu,cpuacct:/x\n5:hugetlb,memory:/docker/1\n0::/y\n"),
			"sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": file("83886080\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":          file("9223372036854771712\n"),
		}, false, none, 10 * mib, 72*mib + 10*mib, "cgroup"},
		"GOGC": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("83886080\n"),
		}, true, none, 0, 72 * mib, "cgroup"},
		"GOMEMLIMIT": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("1048576000\n"),
		}, false, 160 * mib, 20 * mib, 160 * mib, "GOMEMLIMIT"},
		"what is no number": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\nrubbish\n"),
			"sys/fs/cgroup/memory.max": file("much\n"),
		}, false, none, 64 * mib, none, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := micro.PlanTuning(test.root, func(string) (string, bool) { return "", test.gogc }, test.limit)
			want := micro.Tuning{Headroom: test.headroom, MemoryLimit: test.want, Limited: test.by, Processors: runtime.GOMAXPROCS(0)}
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestTuneRuntime(t *testing.T) {
	tuned := micro.TuneRuntime()
	t.Log(tuned)
	if again := micro.TuneRuntime(); again != tuned {
		t.Errorf("a second call: %v, want %v", again, tuned)
	}
	if got := debug.SetMemoryLimit(-1); got != tuned.MemoryLimit {
		t.Errorf("the memory limit is %d, want %d", got, tuned.MemoryLimit)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if room := int64(m.NextGC - m.HeapAlloc); room < tuned.Headroom {
		t.Errorf("the next collection is in %d bytes, want %d or more", room, tuned.Headroom)
	}
}
