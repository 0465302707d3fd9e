package peer

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Memory is what a process has at one moment.
type Memory struct {
	Resident   uint64 // bytes, of the whole process; 0: only Linux says
	Peak       uint64 // the most it ever was
	Goroutines int
}

// memoryNow gives back to the system what is garbage first if settle is set.
// Then what is resident is what the program holds on to.
func memoryNow(settle bool) Memory {
	if settle {
		debug.FreeOSMemory()
	}
	m := Memory{Goroutines: runtime.NumGoroutine()}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return m // not Linux
	}
	m.Resident, m.Peak = kibibytes(string(status), "VmRSS:"), kibibytes(string(status), "VmHWM:")
	return m
}

// kibibytes finds a line such as "VmRSS:	   12345 kB" and returns its bytes.
func kibibytes(status, name string) uint64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if fields := strings.Fields(rest); len(fields) == 2 {
				n, _ := strconv.ParseUint(fields[0], 10, 64)
				return n << 10
			}
		}
	}
	return 0
}
