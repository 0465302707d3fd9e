package peer

import (
	"runtime"
	"testing"
)

func TestMemory(t *testing.T) {
	m := memoryNow(true)
	if m.Goroutines < 1 || runtime.GOOS == "linux" && (m.Resident < 1<<20 || m.Peak < m.Resident) {
		t.Errorf("%+v", m)
	}
	for status, want := range map[string]uint64{"VmRSS:\t   12 kB\nVmHWM:\t 13 kB\n": 13 << 10, "VmHWM:\n": 0, "": 0} {
		if got := kibibytes(status, "VmHWM:"); got != want {
			t.Errorf("%q: %d, want %d", status, got, want)
		}
	}
}
