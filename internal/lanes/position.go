package lanes

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
)

// mark starts every encoded position, so that the metadata of a foreign client
// is not taken for ours.
const mark = "lanes1:"

// Position is how far a partition has come.
type Position struct {
	Next     int64 // every offset below it is finished
	Finished []Run // the finished ones behind it, ascending, with gaps between them
}

// Run is the offsets from From up to, not including, To.
type Run struct{ From, To int64 }

// add adds a run that lies behind the others, joining it to what it touches.
func (p *Position) add(r Run) {
	last := len(p.Finished) - 1
	switch {
	case r.From >= r.To:
	case r.From <= p.Next:
		p.Next = r.To
	case last >= 0 && r.From <= p.Finished[last].To:
		p.Finished[last].To = r.To
	default:
		p.Finished = append(p.Finished, r)
	}
}

// Encode returns the runs as text of no more than limit bytes, to be committed
// beside Next. The farthest runs are left out if there is no room for them;
// their messages are then handled again after a take-over. It is empty if
// there is nothing to say.
func (p Position) Encode(limit int) string {
	room := base64.RawStdEncoding.DecodedLen(max(limit-len(mark), 0))
	var raw []byte
	at := p.Next
	for _, r := range p.Finished {
		n := len(raw)
		raw = binary.AppendUvarint(raw, uint64(r.From-at))
		raw = binary.AppendUvarint(raw, uint64(r.To-r.From))
		if len(raw) > room {
			raw = raw[:n]
			break
		}
		at = r.To
	}
	if len(raw) == 0 {
		return ""
	}
	return mark + base64.RawStdEncoding.EncodeToString(raw)
}

// DecodePosition returns the position that was committed as next and the
// metadata that Encode made. Any other metadata, a foreign client's, is
// ignored.
func DecodePosition(next int64, metadata string) Position {
	only := Position{Next: next}
	text, ours := strings.CutPrefix(metadata, mark)
	if !ours || next < 0 {
		return only
	}
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return only
	}
	pos := only
	for at := next; len(raw) > 0; {
		var n [2]int64
		for i := range n {
			v, size := binary.Uvarint(raw)
			if size <= 0 || v == 0 || v > math.MaxInt64 || int64(v) > math.MaxInt64-at {
				return only
			}
			raw = raw[size:]
			at += int64(v)
			n[i] = at
		}
		pos.Finished = append(pos.Finished, Run{From: n[0], To: n[1]})
	}
	return pos
}
