package micro

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
)

// A Go program with a small heap collects garbage each 4 MiB that it allocates,
// which is once in some 700 small calls. Headroom lets it allocate more before:
// it is memory that counts as live and is never touched, so that it takes none
// until there is garbage to fill it, and GOGC goes on working on top of it.
const (
	// defaultHeadroom is what each process gets that runs a Service or has a
	// client. In bench, with the chain of interceptors and a deadline on each
	// call, it makes 0.78 times the calls a second of raw grpc-go 1.18 times at 64
	// callers, and 0.85 times 1.08 times at 512. Half of it makes less (0.97
	// instead of 1.05 with three instances), twice no more at 64.
	defaultHeadroom = 8 << 20

	// tunedHeadroom is TuneRuntime's. Without interceptors and deadlines 32 MiB
	// make 1.47 times the calls, 64 MiB 1.52 times with half the p99, and 128 MiB
	// 1.42 times, for caches are finite.
	tunedHeadroom = 64 << 20
)

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

// TuneRuntime gives the garbage collector of this process much room and tells
// it the limit of its memory, and returns what it did. Call it first in main;
// further calls change nothing. It is for programs that serve and little else,
// and not done without being asked for, because it costs memory.
//
//   - 64 MiB are allocated between two collections, at least, where a small
//     program has 4 MiB and one with a Service or a client of this package 8 MiB.
//     That makes 1.5 times the calls a second of raw grpc-go with half its p99
//     (bench: small calls, 64 callers, both sides tuned), and costs up to 64 MiB
//     of memory, and an eighth of the memory limit at most. Where many such
//     processes share the caches of few cores it gives no more than the 8 MiB do:
//     measure. Where GOGC is set, it is left out.
//   - Where GOMEMLIMIT is not set, the runtime's memory limit becomes nine tenths
//     of the cgroup's, if that has one (and the headroom, which takes no memory
//     itself): near it the collector works harder, rather than the kernel ending
//     the process.
//   - The number of processors is left alone: since Go 1.25 the runtime follows
//     the cgroup's CPU limit by itself.
func TuneRuntime() Tuning { return tuneOnce() }

var tuneOnce = sync.OnceValue(func() Tuning {
	gogc, limit := collector()
	t := plan(os.DirFS("/"), gogc, limit)
	room.make(t.Headroom)
	debug.SetMemoryLimit(t.MemoryLimit)
	return t
})

// giveHeadroom gives the collector what every process gets, unless the user has
// decided how it works.
func giveHeadroom() {
	if gogc, limit := collector(); gogc == defaultGOGC && limit == math.MaxInt64 {
		room.make(defaultHeadroom)
	}
}

const defaultGOGC = 100

// collector returns how it is set, by the environment or by package debug.
func collector() (gogc uint64, limit int64) {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/gomemlimit:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), int64(min(s[1].Value.Uint64(), math.MaxInt64))
}

// room is the headroom. It has no pointers, so it takes no time to mark.
var room headroom

type headroom struct {
	mu   sync.Mutex // guards held
	held []byte
}

func (h *headroom) make(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if int64(len(h.held)) < n {
		h.held = make([]byte, n)
	}
}

// plan is TuneRuntime without the deeds.
func plan(root fs.FS, gogc uint64, limit int64) Tuning {
	t := Tuning{MemoryLimit: limit, Processors: runtime.GOMAXPROCS(0)}
	memory := limit
	if limit != math.MaxInt64 {
		t.Limited = "GOMEMLIMIT"
	} else if memory = cgroupMemory(root); memory != math.MaxInt64 {
		t.Limited = "cgroup"
	}
	if gogc == defaultGOGC {
		t.Headroom = min(tunedHeadroom, memory/8)
	}
	if t.Limited == "cgroup" {
		t.MemoryLimit = memory/10*9 + t.Headroom
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
