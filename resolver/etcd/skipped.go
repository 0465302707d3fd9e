package etcd

import "sync"

// maxSkipped bounds what is remembered of values that could not be read.
const maxSkipped = 1000

// skipped remembers the values that could not be read, so that each is counted
// and logged once, however often it is listed.
type skipped struct {
	mu    sync.Mutex       // guards what follows
	seen  map[string]int64 // the revision that was seen of a key
	count int64
}

// add reports whether the value is new.
func (s *skipped) add(key string, revision int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[key] == revision {
		return false
	}
	if s.seen == nil || len(s.seen) >= maxSkipped {
		s.seen = make(map[string]int64)
	}
	s.seen[key] = revision
	s.count++
	return true
}

func (s *skipped) total() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}
