package mdns

import "sync"

// maxSkipped bounds what is remembered, and logged, of what could not be read:
// anyone on the LAN can send it.
const maxSkipped = 1000

// skipped counts what could not be read: each name, and each sender, once.
type skipped struct {
	mu    sync.Mutex // guards what follows
	seen  map[string]bool
	count int64
}

// add reports whether to log what was skipped.
func (s *skipped) add(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.seen[what]:
		return false
	case len(s.seen) >= maxSkipped:
		s.count++
		return false
	case s.seen == nil:
		s.seen = make(map[string]bool)
	}
	s.seen[what] = true
	s.count++
	return true
}

func (s *skipped) total() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}
