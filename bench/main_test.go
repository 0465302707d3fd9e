package main

import (
	"os"
	"slices"
	"testing"
)

// TestMain is also the process that has etcd and Kafka: the benchmark starts its
// own program once more for it.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-infra") {
		main()
		return
	}
	os.Exit(m.Run())
}
