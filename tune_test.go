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
		gogc     uint64
		limit    int64 // GOMEMLIMIT
		headroom int64
		want     int64
		by       string
	}{
		"nothing": {fstest.MapFS{}, 100, none, 64 * mib, none, ""},
		"no limit, version 2": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("max\n"),
		}, 100, none, 64 * mib, none, ""},
		"a pod's": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("1048576000\n"),
		}, 100, none, 64 * mib, 943718400 + 64*mib, "cgroup"},
		"a small one": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("83886080\n"),
		}, 100, none, 10 * mib, 72*mib + 10*mib, "cgroup"},
		"that of a parent is less": {fstest.MapFS{
			"proc/self/cgroup":             file("0::/a/b/c\n"),
			"sys/fs/cgroup/a/memory.max":   file("83886080\n"),
			"sys/fs/cgroup/a/b/memory.max": file("1048576000\n"),
		}, 100, none, 10 * mib, 72*mib + 10*mib, "cgroup"},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup": file("7:cpu,cpuacct:/x\n5:hugetlb,memory:/docker/1\n0::/y\n"),
			"sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": file("83886080\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":          file("9223372036854771712\n"),
		}, 100, none, 10 * mib, 72*mib + 10*mib, "cgroup"},
		"GOGC": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("83886080\n"),
		}, 400, none, 0, 72 * mib, "cgroup"},
		"GOMEMLIMIT": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("1048576000\n"),
		}, 100, 160 * mib, 20 * mib, 160 * mib, "GOMEMLIMIT"},
		"what is no number": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\nrubbish\n"),
			"sys/fs/cgroup/memory.max": file("much\n"),
		}, 100, none, 64 * mib, none, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := micro.PlanTuning(test.root, test.gogc, test.limit)
			want := micro.Tuning{Headroom: test.headroom, MemoryLimit: test.want, Limited: test.by, Processors: runtime.GOMAXPROCS(0)}
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// Not parallel: it changes the process.
func TestHeadroom(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // GOGC, where it is set, decides alone
	cc, err := micro.NewClient("test", memory(t), micro.Insecure())
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	if room := untilCollection(); room < 8<<20 {
		t.Errorf("the next collection is in %d bytes, want 8 MiB or more", room)
	}

	tuned := micro.TuneRuntime()
	t.Log(tuned)
	if again := micro.TuneRuntime(); again != tuned {
		t.Errorf("a second call: %v, want %v", again, tuned)
	}
	if got := debug.SetMemoryLimit(-1); got != tuned.MemoryLimit {
		t.Errorf("the memory limit is %d, want %d", got, tuned.MemoryLimit)
	}
	if room := untilCollection(); room < tuned.Headroom {
		t.Errorf("the next collection is in %d bytes, want %d or more", room, tuned.Headroom)
	}
}

func untilCollection() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.NextGC - m.HeapAlloc)
}
