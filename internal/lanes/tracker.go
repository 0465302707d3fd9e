package lanes

import "math/bits"

// tracker knows which offsets of a partition are finished: all below next, and
// of those in [next, end) the ones whose bit is set. Offsets that do not exist
// (compacted away, or control records) count as finished.
type tracker struct {
	next, end int64
	window    int64
	ring      []uint64 // a ring of bits, a power of two of words, not smaller than the window
	restored  []Run    // finished before we got the partition; at or beyond end
}

func newTracker(pos Position, window int) tracker {
	words := 1
	for words*64 < window {
		words *= 2
	}
	return tracker{
		next:     pos.Next,
		end:      pos.Next,
		window:   int64(window),
		ring:     make([]uint64, words),
		restored: pos.Finished,
	}
}

// fits reports whether offset is inside the window; if nothing is unfinished,
// any is.
func (t *tracker) fits(offset int64) bool {
	return t.next == t.end || offset-t.next < t.window
}

// add takes the offset into the window, and reports whether it is to be handled:
// it is not if it was added before, or finished before we got the partition.
func (t *tracker) add(offset int64) bool {
	if offset < t.end {
		return false
	}
	for len(t.restored) > 0 && t.restored[0].To <= offset {
		t.restored = t.restored[1:]
	}
	done := len(t.restored) > 0 && t.restored[0].From <= offset

	if t.next == t.end { // nothing is unfinished: the window starts here
		t.next = offset
		if done {
			t.next++
		}
		t.end = offset
	}
	for ; t.end < offset; t.end++ {
		t.set(t.end)
	}
	t.end++
	if done {
		t.set(offset)
	} else {
		*t.word(offset) &^= 1 << (offset & 63)
	}
	return !done
}

// finish marks the offset, and reports whether next has moved.
func (t *tracker) finish(offset int64) bool {
	t.set(offset)
	if offset != t.next {
		return false
	}
	t.next = t.skip(offset, true)
	return true
}

func (t *tracker) position() Position {
	pos := Position{Next: t.next}
	for from := t.skip(t.next, false); from < t.end; {
		to := t.skip(from, true)
		pos.add(Run{From: from, To: to})
		from = t.skip(to, false)
	}
	for _, r := range t.restored {
		pos.add(Run{From: max(r.From, t.end), To: r.To})
	}
	return pos
}

// skip returns the first offset, from the given one on, that is finished if
// those to be skipped are not, and the other way round; or end.
func (t *tracker) skip(from int64, finished bool) int64 {
	for from < t.end {
		word := *t.word(from)
		if finished {
			word = ^word
		}
		if word >>= from & 63; word != 0 {
			return min(from+int64(bits.TrailingZeros64(word)), t.end)
		}
		from = from&^63 + 64
	}
	return t.end
}

func (t *tracker) set(offset int64) { *t.word(offset) |= 1 << (offset & 63) }

func (t *tracker) word(offset int64) *uint64 {
	return &t.ring[offset>>6&int64(len(t.ring)-1)]
}
