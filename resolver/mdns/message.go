package mdns

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

const (
	overhead = 20 + 8 // bytes of the IP and UDP headers

	// maxMessage is what RFC 6762 allows, fragments of IP included.
	maxMessage = 9000 - overhead
	// oneFrame is what Ethernet carries in one piece: messages of several
	// instances are kept below it, as one lost fragment loses them all.
	oneFrame = 1500 - overhead

	// maxQuestions of a query are answered. Who means it has a few.
	maxQuestions = 32
)

// message is what was heard in one packet.
type message struct {
	response  bool
	id        uint16
	questions []dns.Question   // of a query, their names in lower case
	heard     []announcement   // of a response
	foreign   map[string]error // what is named like one of ours and is none, by name
}

// unpack reads a packet. Of all that a LAN says over multicast DNS it keeps the
// questions, and what is announced under our type; printers are none of our
// business.
func (n names) unpack(packet []byte) (message, error) {
	var in dns.Msg
	if err := in.Unpack(packet); err != nil {
		return message{}, fmt.Errorf("a packet that is no DNS message: %w", err)
	}
	if in.Opcode != dns.OpcodeQuery || in.Rcode != dns.RcodeSuccess {
		return message{}, nil // RFC 6762, 18.3 and 18.11: to be ignored in silence
	}
	m := message{response: in.Response, id: in.Id}
	if !in.Response {
		for _, q := range in.Question[:min(len(in.Question), maxQuestions)] {
			q.Name = strings.ToLower(q.Name)
			m.questions = append(m.questions, q)
		}
		return m, nil
	}
	for _, section := range [][]dns.RR{in.Answer, in.Extra} {
		for _, rr := range section {
			n.take(&m, rr)
		}
	}
	return m, nil
}

func (n names) take(m *message, rr dns.RR) {
	name := strings.ToLower(rr.Header().Name)
	if !n.isInstance(name) {
		return
	}
	txt, ok := rr.(*dns.TXT)
	if !ok {
		return // its SRV and addresses are for others
	}
	a, err := read(txt)
	if err != nil {
		if m.foreign == nil {
			m.foreign = make(map[string]error)
		}
		m.foreign[name] = err
		return
	}
	m.heard = append(m.heard, a)
}

// pack makes messages of the sets of records, one set an instance, as few as fit
// into a frame each. reply has the header, and the questions that are repeated.
func pack(reply dns.Msg, sets [][]dns.RR) ([][]byte, error) {
	reply.Response, reply.Authoritative, reply.Compress = true, true, true
	var packets [][]byte
	finish := func() error {
		packet, err := reply.Pack()
		reply.Answer = nil
		packets = append(packets, packet)
		return err
	}
	for _, set := range sets {
		before := len(reply.Answer)
		reply.Answer = append(reply.Answer, set...)
		if before == 0 || reply.Len() <= oneFrame {
			continue
		}
		reply.Answer = reply.Answer[:before]
		if err := finish(); err != nil {
			return nil, err
		}
		reply.Answer = append(reply.Answer, set...)
	}
	if len(reply.Answer) == 0 {
		return packets, nil
	}
	return packets, finish()
}

// fits refuses an instance that no message holds, or that DNS cannot say.
func fits(e *entry) error {
	whole := dns.Msg{Answer: e.records, Compress: true}
	packet, err := whole.Pack()
	switch {
	case err != nil:
		return fmt.Errorf("mdns: encode instance %s of %s: %w", e.inst.ID, e.inst.Service, err)
	case len(packet) > maxMessage:
		return fmt.Errorf("mdns: instance %s of %s takes %d bytes as a DNS message, of which multicast DNS allows %d: shorten its labels, or its list of addresses",
			e.inst.ID, e.inst.Service, len(packet), maxMessage)
	}
	return nil
}

// ask makes a query for the instances under a name. Class is that of the
// Internet, perhaps with unicastWanted.
func ask(id uint16, name string, class uint16) ([]byte, error) {
	query := dns.Msg{MsgHdr: dns.MsgHdr{Id: id}, Question: []dns.Question{{Name: name, Qtype: dns.TypePTR, Qclass: class}}}
	return query.Pack()
}
