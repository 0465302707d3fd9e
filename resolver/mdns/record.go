package mdns

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/grpc-micro/micro/resolver"
)

const (
	// txtVersion is what DNS-SD calls txtvers. A reader skips others.
	txtVersion = "txtvers=1"

	maxString = 255             // bytes of a string in a TXT record
	flush     = uint16(1) << 15 // of a class, in an answer: what was known of the name before is void
	maxSince  = int64(1) << 62
)

// described is what the TXT record of an instance says: JSON, cut into strings.
type described struct {
	Service  string            `json:"service"`
	ID       string            `json:"id"`
	Addrs    []string          `json:"addrs"`
	Version  string            `json:"version,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Weight   uint32            `json:"weight,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Draining bool              `json:"draining,omitempty"`
	Local    string            `json:"local,omitempty"`

	// Since is when it was registered, in microseconds since 1970. Of several
	// that claim one ID, the latest is the instance.
	Since int64 `json:"since"`
	// Change counts the updates: what arrives late changes nothing back.
	Change int64 `json:"change,omitempty"`
}

// announcement is what was heard of an instance.
type announcement struct {
	name          string        // in DNS, lower case
	ttl           time.Duration // 0: it said goodbye
	inst          *resolver.Instance
	since, change int64
}

// records returns all that DNS knows of e: for us the TXT record, and what other
// programs that browse the LAN ask for beside it.
func (n names) records(e *entry, ttl time.Duration) ([]dns.RR, error) {
	text, err := json.Marshal(described{
		Service: e.inst.Service, ID: e.inst.ID, Addrs: e.inst.Addrs, Version: e.inst.Version, Zone: e.inst.Zone,
		Weight: e.inst.Weight, Labels: e.inst.Labels, Draining: e.inst.Draining, Local: e.inst.Local, Since: e.since, Change: e.change,
	})
	if err != nil {
		return nil, err
	}
	seconds := uint32(ttl / time.Second)
	header := func(name string, kind, class uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: class, Ttl: seconds}
	}
	records := []dns.RR{
		&dns.PTR{Hdr: header(n.kind, dns.TypePTR, dns.ClassINET), Ptr: e.name},
		&dns.PTR{Hdr: header(e.subtype, dns.TypePTR, dns.ClassINET), Ptr: e.name},
		&dns.TXT{Hdr: header(e.name, dns.TypeTXT, dns.ClassINET|flush), Txt: cut(text)},
	}
	host, port, ok := target(e.inst.Addrs[0])
	if !ok {
		return records, nil
	}
	srv := &dns.SRV{Hdr: header(e.name, dns.TypeSRV, dns.ClassINET|flush), Port: port, Target: e.host}
	switch ip, err := netip.ParseAddr(host); {
	case err != nil:
		if srv.Target = dns.Fqdn(host); !isHostName(srv.Target) {
			return records, nil
		}
		return append(records, srv), nil
	case ip.Unmap().Is4():
		return append(records, srv, &dns.A{Hdr: header(e.host, dns.TypeA, dns.ClassINET|flush), A: ip.Unmap().AsSlice()}), nil
	default:
		return append(records, srv, &dns.AAAA{Hdr: header(e.host, dns.TypeAAAA, dns.ClassINET|flush), AAAA: ip.AsSlice()}), nil
	}
}

// target is what a SRV record can say of an address: not a socket's path, nor a
// port's name.
func target(addr string) (host string, port uint16, ok bool) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil || strings.HasPrefix(addr, "unix:") {
		return "", 0, false
	}
	number, err := strconv.ParseUint(text, 10, 16)
	return host, uint16(number), err == nil
}

func isHostName(name string) bool {
	_, ok := dns.IsDomainName(name)
	return ok && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// withdrawn returns records that say goodbye: the same ones, of no more life.
func withdrawn(records []dns.RR) []dns.RR {
	out := make([]dns.RR, len(records))
	for i, rr := range records {
		out[i] = dns.Copy(rr)
		out[i].Header().Ttl = 0
	}
	return out
}

// plain returns records for a resolver that is none of multicast DNS: it knows
// no flush bit.
func plain(records []dns.RR) []dns.RR {
	out := make([]dns.RR, len(records))
	for i, rr := range records {
		out[i] = dns.Copy(rr)
		out[i].Header().Class &^= flush
	}
	return out
}

// cut makes the strings of a TXT record: DNS-SD wants them to be key=value, and
// the keys number the pieces.
func cut(text []byte) []string {
	out := []string{txtVersion}
	for i := 0; len(text) > 0; i++ {
		key := strconv.Itoa(i) + "="
		n := min(len(text), maxString-len(key))
		// To package dns a backslash begins an escape, in a string to be packed.
		out = append(out, key+strings.ReplaceAll(string(text[:n]), `\`, `\\`))
		text = text[n:]
	}
	return out
}

// join is the reverse of cut.
func join(txt []string) ([]byte, error) {
	if len(txt) == 0 || txt[0] != txtVersion {
		return nil, fmt.Errorf("the TXT record does not begin with %s", txtVersion)
	}
	var text []byte
	for i, s := range txt[1:] {
		piece, ok := strings.CutPrefix(s, strconv.Itoa(i)+"=")
		if !ok {
			return nil, fmt.Errorf("string %d of the TXT record does not begin with %d=", i+1, i)
		}
		text = unescape(text, piece)
	}
	return text, nil
}

// unescape appends s without the escapes that package dns writes into the
// strings that it unpacks: \" and \\, and \DDD for what is not printable ASCII.
func unescape(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			dst = append(dst, s[i])
			continue
		}
		i++
		if i+3 <= len(s) {
			if b, err := strconv.ParseUint(s[i:i+3], 10, 8); err == nil {
				dst = append(dst, byte(b))
				i += 2
				continue
			}
		}
		dst = append(dst, s[i])
	}
	return dst
}

// read returns what a TXT record announces, whoever sent it.
func read(txt *dns.TXT) (announcement, error) {
	text, err := join(txt.Txt)
	if err != nil {
		return announcement{}, err
	}
	var d described
	if err := json.Unmarshal(text, &d); err != nil {
		return announcement{}, fmt.Errorf("the TXT record is no instance in JSON: %w", err)
	}
	if d.Since <= 0 || d.Since >= maxSince || d.Change < 0 || d.Change >= maxSince {
		return announcement{}, errors.New("the TXT record does not say since when, or that it changed less than 0 times")
	}
	inst := &resolver.Instance{
		ID: d.ID, Service: d.Service, Version: d.Version, Zone: d.Zone, Addrs: d.Addrs,
		Weight: d.Weight, Labels: d.Labels, Draining: d.Draining, Local: d.Local,
	}
	if err := inst.Validate(); err != nil {
		return announcement{}, err
	}
	return announcement{
		name: strings.ToLower(txt.Hdr.Name), inst: inst, since: d.Since, change: d.Change,
		ttl: min(time.Duration(txt.Hdr.Ttl)*time.Second, maxTTL),
	}, nil
}
