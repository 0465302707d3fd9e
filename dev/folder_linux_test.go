package dev_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/grpc-micro/micro/dev"
)

// A process that is being started has what we have open, and keeps its locks, until
// it runs its own program. A server that was stopped at that moment starts again all
// the same.
func TestRestartWhileAProcessStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		k, err := dev.StartKafka(t.Context(), dev.WithDataDir(dir))
		if err != nil {
			t.Fatal(err)
		}
		too := openToo(t, filepath.Join(dir, "kafka.lock"))
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(20*time.Millisecond, func() { _ = syscall.Close(too) })
	}
}

// openToo returns a second descriptor of a file that this process has open.
func openToo(t *testing.T, path string) int {
	t.Helper()
	const folder = "/proc/self/fd"
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if target, err := os.Readlink(filepath.Join(folder, f.Name())); err != nil || target != path {
			continue
		}
		fd, err := strconv.Atoi(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		too, err := syscall.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		syscall.CloseOnExec(too)
		return too
	}
	t.Fatalf("%s is not open", path)
	return 0
}
