package mdns

import (
	"context"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/miekg/dns"
)

const (
	// A change is announced at once, and twice more: multicast gets lost, on
	// wireless LANs above all.
	firstRepeat  = 250 * time.Millisecond
	secondRepeat = time.Second
	repeats      = 2

	// answerDelay is the most that an answer to all waits. Many have to answer,
	// and others may ask the same meanwhile.
	answerDelay = 20 * time.Millisecond

	// sentLately is for how long what was said to all is not said to all again,
	// however many ask (RFC 6762, 6).
	sentLately = time.Second

	lookEvery = 2 * time.Second // for interfaces that come and go
)

// agenda is what is to be said, and when. The registry's mutex guards it.
type agenda struct {
	repeats  map[*entry]repeat
	answers  map[*entry]bool
	kinds    bool      // answer which types there are
	answerAt time.Time // when to answer, if there is anything
}

type repeat struct {
	left int
	at   time.Time
}

func newAgenda() agenda {
	return agenda{repeats: make(map[*entry]repeat), answers: make(map[*entry]bool)}
}

// repeat lets what has become of entries be said again.
func (a *agenda) repeat(now time.Time, entries []*entry) {
	for _, e := range entries {
		a.repeats[e] = repeat{left: repeats, at: now.Add(firstRepeat)}
	}
}

// answer lets entries be said in answer to a question that all have heard.
func (a *agenda) answer(now time.Time, entries map[*entry]bool, kinds bool) {
	if len(a.answers) == 0 && !a.kinds {
		a.answerAt = now.Add(rand.N(answerDelay)) //nolint:gosec // spreads load, hides nothing
	}
	a.kinds = a.kinds || kinds
	maps.Copy(a.answers, entries)
}

// due takes off the agenda what is to be said now.
func (a *agenda) due(now time.Time) (entries []*entry, kinds bool) {
	for e, r := range a.repeats {
		if r.at.After(now) {
			continue
		}
		entries = append(entries, e)
		delete(a.answers, e)
		if r.left--; r.left == 0 {
			delete(a.repeats, e)
			continue
		}
		a.repeats[e] = repeat{r.left, now.Add(secondRepeat)}
	}
	if (len(a.answers) == 0 && !a.kinds) || a.answerAt.After(now) {
		return entries, false
	}
	for e := range a.answers {
		if !e.gone && now.Sub(e.sent) >= sentLately {
			entries = append(entries, e)
		}
	}
	kinds, a.kinds = a.kinds, false
	clear(a.answers)
	return entries, kinds
}

// next is when due has something, or the given time if that is sooner.
func (a *agenda) next(at time.Time) time.Time {
	for _, r := range a.repeats {
		at = earlier(at, r.at)
	}
	if len(a.answers) > 0 || a.kinds {
		at = earlier(at, a.answerAt)
	}
	return at
}

// unsaid returns what was withdrawn, and would be said so again.
func (a *agenda) unsaid() []*entry {
	var entries []*entry
	for e := range a.repeats {
		if e.gone {
			entries = append(entries, e)
		}
	}
	return entries
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// announce says what has become of entries to all: at once, and again later.
func (r *Registry) announce(ctx context.Context, entries []*entry) error {
	if len(entries) == 0 {
		return nil
	}
	now := time.Now()
	r.mu.Lock()
	r.agenda.repeat(now, entries)
	packets, err := r.tell(dns.Msg{}, entries, nil)
	r.nudge(now.Add(firstRepeat))
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.net.multicast(ctx, r.net.shared, packets)
}

// tell makes messages of what has become of entries, in a form that change, if
// not nil, makes of their records. It needs mu.
func (r *Registry) tell(reply dns.Msg, entries []*entry, change func([]dns.RR) []dns.RR) ([][]byte, error) {
	sets := make([][]dns.RR, len(entries))
	now := time.Now()
	for i, e := range entries {
		switch sets[i] = e.records; {
		case e.gone:
			sets[i] = withdrawn(e.records)
		case change != nil:
			sets[i] = change(e.records)
		default:
			e.sent = now
		}
	}
	return pack(reply, sets)
}

// kinds says that there are instances here.
func (r *Registry) kinds() []dns.RR {
	return []dns.RR{&dns.PTR{
		Hdr: dns.RR_Header{Name: r.names.enum, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: uint32(r.ttl / time.Second)},
		Ptr: r.names.kind,
	}}
}

// nudge makes run look again, if something is due before that. It needs mu.
func (r *Registry) nudge(due time.Time) {
	if !due.Before(r.planned) {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run does what is due by the clock, until Close.
func (r *Registry) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	look := time.Now().Add(r.lookEvery)
	for {
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.ctx.Done():
			return
		}
		now := time.Now()
		if !look.After(now) {
			r.look()
			look = now.Add(r.lookEvery)
		}
		timer.Reset(time.Until(r.work(now, look)))
	}
}

// work says and asks what is due, and returns when the next is, at the latest at
// the given time.
func (r *Registry) work(now, latest time.Time) (next time.Time) {
	r.mu.Lock()
	r.store.expire(now)
	names, doubts := r.questions(now)
	entries, kinds := r.agenda.due(now)
	packets, err := r.tell(dns.Msg{}, entries, nil)
	r.planned = r.agenda.next(earlier(latest, r.nextQuestion(latest)))
	if !r.store.expiry.IsZero() {
		r.planned = earlier(r.planned, r.store.expiry)
	}
	next = r.planned
	r.mu.Unlock()

	if kinds && err == nil {
		var more [][]byte
		more, err = pack(dns.Msg{}, [][]dns.RR{r.kinds()})
		packets = append(packets, more...)
	}
	for _, name := range names {
		var query []byte
		if query, err = ask(0, name, dns.ClassINET); err == nil {
			packets = append(packets, query)
		}
	}
	if err != nil {
		r.logger.Error("mdns: a message cannot be encoded", "error", err) // all were encoded before: a bug
	}
	if len(packets) > 0 {
		r.report(r.net.multicast(r.ctx, r.net.shared, packets))
	}
	for _, name := range doubts {
		r.report(r.askDirect(r.ctx, name))
	}
	return next
}
