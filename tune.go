package micro

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
)

// maxHeadroom is what TuneRuntime gives the garbage collector. In bench, at 64
// callers, 32 MiB on both sides give 1.47 times the calls a second, 64 MiB 1.52
// times with half the p99, and 128 MiB 1.42 times, for caches are finite.
const maxHeadroom = 64 << 20

// Tuning is what TuneRuntime found and did.
type Tuning struct {
	Headroom    int64  // bytes that are allocated between two collections, at least; 0: GOGC is set and decides alone
	MemoryLimit int64  // of the Go runtime, in bytes; math.MaxInt64: none
	Limited     string // by what: "GOMEMLIMIT", "cgroup" or ""
	Processors  int
}

// String says it in one line, for the log.
func (t Tuning) String() string {
	headroom, limit := "as GOGC says", "no memory limit"
	if t.Headroom > 0 {
		headroom = fmt.Sprintf("%d MiB", t.Headroom>>20)
	}
	if t.Limited != "" {
		limit = fmt.Sprintf("memory limit %d MiB by %s", t.MemoryLimit>>20, t.Limited)
	}
	return fmt.Sprintf("GC headroom %s, %s, %d processors", headroom, limit, t.Processors)
}

// TuneRuntime gives the garbage collector of this process more room and tells
// it the limit of its memory, and returns what it did. Call it first in main;
// further calls change nothing. It is for programs that are services, and not
// done without being asked for, because it changes the whole process.
//
//   - A Go program with a small heap collects garbage each 4 MiB, which is once
//     in some 700 calls. Headroom of 64 MiB makes that once in 12,000: 1.5 times
//     the calls a second with half the p99, for small calls (bench, 64 callers,
//     both sides tuned). It costs up to 64 MiB of memory, and an eighth of the
//     memory limit at most. It is memory that is allocated and never touched, so
//     that GOGC goes on working on top of it; where GOGC is set, it is left out.
//   - Where GOMEMLIMIT is not set, the runtime's memory limit becomes nine tenths
//     of the cgroup's, if that has one (and the headroom, which takes no memory
//     itself): near it the collector works harder, rather than the kernel ending
//     the process.
//   - The number of processors is left alone: since Go 1.25 the runtime follows
//     the cgroup's CPU limit by itself.
func TuneRuntime() Tuning { return tuneOnce() }

var tuneOnce = sync.OnceValue(func() Tuning {
	t := plan(os.DirFS("/"), os.LookupEnv, debug.SetMemoryLimit(-1))
	headroom = make([]byte, t.Headroom)
	debug.SetMemoryLimit(t.MemoryLimit)
	return t
})

// headroom is counted as live by the collector. It has no pointers and is never
// touched, so it takes neither time to mark nor memory.
var headroom []byte //nolint:unused // to be held is its use

// plan is TuneRuntime without the deeds; limit is the runtime's now.
func plan(root fs.FS, env func(string) (string, bool), limit int64) Tuning {
	t := Tuning{Headroom: maxHeadroom, MemoryLimit: limit, Processors: runtime.GOMAXPROCS(0)}
	room := limit
	if limit != math.MaxInt64 {
		t.Limited = "GOMEMLIMIT"
	} else if room = cgroupMemory(root); room != math.MaxInt64 {
		t.Limited = "cgroup"
	}
	t.Headroom = min(t.Headroom, room/8)
	if _, set := env("GOGC"); set {
		t.Headroom = 0
	}
	if t.Limited == "cgroup" {
		t.MemoryLimit = room/10*9 + t.Headroom
	}
	return t
}

// cgroupMemory returns the least memory limit of this process's cgroup and
// those above it, or math.MaxInt64.
func cgroupMemory(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return least // not Linux
	}
	for line := range strings.Lines(string(groups)) {
		// "0::/path" is version 2, "5:cpu,memory:/path" version 1.
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		mount, file := "sys/fs/cgroup", "memory.max"
		if id != "0" {
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
			if !strings.Contains(","+controllers+",", ",memory,") {
				continue
			}
		}
		for group = path.Clean("/" + group); ; group = path.Dir(group) {
			text, err := fs.ReadFile(root, path.Join(mount, group, file))
			if n, parseErr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && parseErr == nil && n < 1<<60 { // version 1 says none by a huge number
				least = min(least, n)
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}
