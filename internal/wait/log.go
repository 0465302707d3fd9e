package wait

import (
	"bytes"
	"strings"
	"sync"
)

// Log is a log that may be read while it is written. The zero value is empty.
type Log struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Has returns a condition for Until: that the log has a text.
func (l *Log) Has(text string) func() bool {
	return func() bool { return strings.Contains(l.String(), text) }
}
