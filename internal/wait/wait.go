// Package wait has the one way in which tests wait for what nothing signals, and a
// log to find it in.
package wait

import (
	"testing"
	"time"
)

// Patience bounds a wait: only a failure takes so long.
const Patience = 30 * time.Second

// Until waits until cond holds, asking every millisecond, and ends the test if
// it does not within Patience. what completes "waited for …".
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	Within(t, Patience, what, cond)
}

// Within is Until with another patience: for servers that take their time to start.
func Within(t testing.TB, patience time.Duration, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
