package mdns

import (
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"

	"github.com/grpc-micro/micro/resolver"
)

// Impatient is for a LAN that is this machine.
func Impatient(r *Registry) { r.firstAnswer, r.lookEvery = 60*time.Millisecond, 50*time.Millisecond }

// NewOn is New with interfaces of the test's own.
func NewOn(list func() ([]net.Interface, error), opts ...Option) (*Registry, error) {
	return newRegistry(list, opts)
}

// Unpack returns what a packet announces in the domain, with what comes after
// each, and how much in it was skipped.
func Unpack(domain string, packet []byte) (insts []*resolver.Instance, skipped int, err error) {
	n, err := newNames(domain)
	if err != nil {
		return nil, 0, err
	}
	m, err := n.unpack(packet)
	for _, a := range m.heard {
		insts = append(insts, a.inst)
	}
	return insts, len(m.foreign), err
}

// Pack returns the messages that announce insts.
func Pack(domain string, insts ...*resolver.Instance) ([][]byte, error) {
	n, err := newNames(domain)
	if err != nil {
		return nil, err
	}
	var sets [][]dns.RR
	for i, inst := range insts {
		e := &entry{
			name: n.instance(inst.ID, "0123456789abcdef", i), host: n.host("0123456789abcdef", i), subtype: n.subtype(inst.Service),
			inst: inst, since: 1, change: 1,
		}
		if e.records, err = n.records(e, time.Minute); err != nil {
			return nil, err
		}
		if err := fits(e); err != nil {
			return nil, err
		}
		sets = append(sets, e.records)
	}
	return pack(dns.Msg{}, sets)
}

// Flood lets a registry hear of n instances of as many names.
func (r *Registry) Flood(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range n {
		inst := &resolver.Instance{ID: fmt.Sprint("id-", i), Service: "flood", Addrs: []string{"10.0.0.1:1"}}
		r.store.hear(announcement{name: fmt.Sprintf("%d.%s", i, r.names.kind), ttl: time.Minute, inst: inst, since: 1}, time.Now())
	}
}

// MaxHeard is how many instances of others are kept.
const MaxHeard = maxHeard
