package mdns

import (
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
)

const (
	maxPacket = 1 << 16
	readAgain = 100 * time.Millisecond // after an error that is not the end

	// unicastWanted is a bit of a question's class: the asker is new.
	unicastWanted = uint16(1) << 15
)

// hear reads packets until the socket is closed.
func (r *Registry) hear(conn *ipv4.PacketConn, toGroup bool) {
	buf := make([]byte, maxPacket)
	for {
		n, cm, addr, err := conn.ReadFrom(buf)
		from, ok := addr.(*net.UDPAddr)
		switch {
		case err != nil:
			select {
			case <-r.ctx.Done():
				return
			case <-time.After(readAgain):
			}
		case ok && !toGroup:
			r.take(buf[:n], from, false, false)
		case ok && r.net.accepts(cm):
			r.take(buf[:n], from, true, r.net.onLink(cm, from))
		}
	}
}

// take deals with a packet. RFC 6762, 6: who answers to all does so from its
// port; and what comes to us alone has to be the answer to a question of ours.
func (r *Registry) take(packet []byte, from *net.UDPAddr, toGroup, onLink bool) {
	m, err := r.names.unpack(packet)
	switch {
	case err != nil:
		r.skip("packets from "+from.IP.String(), err)
	case m.response && toGroup && from.Port == group.Port, m.response && !toGroup && m.id == r.id:
		r.learn(m)
	case !m.response && toGroup && m.id == r.id && from.Port == r.net.directPort():
		// Our own question.
	case !m.response && onLink:
		r.answer(m, from)
	}
}

// learn takes what others announce into the store.
func (r *Registry) learn(m message) {
	now := time.Now()
	for name, err := range m.foreign {
		r.skip(name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range m.heard {
		if strings.Contains(a.name, "-"+r.token+"-") {
			continue // our own: what we know of it is newer
		}
		r.heard(a.inst.Service, a.ttl, now)
		if !r.store.hear(a, now) && r.skipped.add("too many") {
			r.logger.Warn("mdns: more is announced than is kept, and skipped", "kept", maxHeard)
		}
	}
	r.nudge(r.store.expiry)
}

func (r *Registry) skip(what string, err error) {
	if r.skipped.add(what) {
		r.logger.Warn("mdns: skipping what cannot be read", "from", what, "error", err)
	}
}

// answer answers questions: to all, as all who use multicast DNS listen, or, if
// the asker's port says that he does not, to him alone.
func (r *Registry) answer(m message, from *net.UDPAddr) {
	now := time.Now()
	entries := make(map[*entry]bool) // each once, however often it is asked for
	kinds, isNew := false, false
	r.mu.Lock()
	for _, q := range m.questions {
		r.asked(q, entries, &kinds)
		isNew = isNew || q.Qclass&unicastWanted != 0
	}
	if from.Port == group.Port {
		for _, q := range m.questions {
			r.overheard(q.Name, now)
		}
		r.answerAll(now, entries, kinds, isNew)
		r.mu.Unlock()
		return
	}
	packets, err := r.reply(m, slices.Collect(maps.Keys(entries)), kinds)
	r.mu.Unlock()
	if err == nil {
		r.net.reply(r.ctx, packets, from)
	}
}

// answerAll puts an answer to all on the agenda. It needs mu.
func (r *Registry) answerAll(now time.Time, entries map[*entry]bool, kinds, isNew bool) {
	if len(entries) == 0 && !kinds {
		return
	}
	if isNew { // and did not hear what was said just before
		for e := range entries {
			e.sent = time.Time{}
		}
	}
	r.agenda.answer(now, entries, kinds)
	r.nudge(r.agenda.answerAt)
}

// asked adds what is known here in answer to a question. It needs mu.
func (r *Registry) asked(q dns.Question, entries map[*entry]bool, kinds *bool) {
	if r.closed || len(r.store.own) == 0 {
		return
	}
	names, things := q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY, q.Qtype != dns.TypePTR
	if names && q.Name == r.names.enum {
		*kinds = true
	}
	for _, e := range r.store.own {
		if names && (q.Name == r.names.kind || q.Name == e.subtype) || things && (q.Name == e.name || q.Name == e.host) {
			entries[e] = true
		}
	}
}

// reply makes messages for a resolver that may be none of multicast DNS. It needs
// mu.
func (r *Registry) reply(m message, entries []*entry, kinds bool) ([][]byte, error) {
	head := dns.Msg{MsgHdr: dns.MsgHdr{Id: m.id}, Question: m.questions} // it compares both
	if kinds {
		return pack(head, [][]dns.RR{r.kinds()})
	}
	return r.tell(head, entries, plain)
}
