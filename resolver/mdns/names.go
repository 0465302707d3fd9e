package mdns

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// serviceType is the one DNS-SD type of all instances; the service that an
// instance is of is a subtype, so that a browser of the LAN shows them together
// and a client asks for its own.
const serviceType = "_grpc-micro._tcp"

const (
	maxLabel  = 63  // bytes between two dots of a DNS name
	maxDomain = 100 // leaves room for a subtype in the 255 bytes of a name
)

// names are the DNS names of a domain.
type names struct {
	domain string // "local."
	kind   string // "_grpc-micro._tcp.local.": every instance
	enum   string // what browsers ask for the types that there are
}

func newNames(domain string) (names, error) {
	domain = strings.ToLower(strings.Trim(domain, "."))
	if domain == "" || len(domain) > maxDomain {
		return names{}, fmt.Errorf("domain %q: write one of 1 to %d bytes, such as local", domain, maxDomain)
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > maxLabel || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return names{}, fmt.Errorf("domain %q: %q is no label: use letters, digits and '-', at most %d", domain, label, maxLabel)
		}
	}
	domain += "."
	return names{domain: domain, kind: serviceType + "." + domain, enum: "_services._dns-sd._udp." + domain}, nil
}

// subtype is the name under which the instances of a service are found. Names
// that DNS cannot tell apart (it ignores case), or has to shorten, share one:
// what an instance says of itself decides.
func (n names) subtype(service string) string {
	if len(service) > maxLabel {
		sum := sha256.Sum256([]byte(service))
		service = service[:maxLabel-17] + "-" + hex.EncodeToString(sum[:8])
	}
	return strings.ToLower(escapeLabel(service)) + "._sub." + n.kind
}

// maxShownID keeps the ID, the token and the number within a label.
const maxShownID = 32

// instance is the name of one thing that a registry announces. The token, which
// is random, keeps it apart from what any other process announces under the same
// ID: this is what a goodbye names.
func (n names) instance(id, token string, number int) string {
	return strings.ToLower(escapeLabel(id[:min(len(id), maxShownID)])) + "-" + token + "-" + strconv.Itoa(number) + "." + n.kind
}

func (n names) host(token string, number int) string {
	return token + "-" + strconv.Itoa(number) + "." + n.domain
}

// isInstance reports whether a name, in lower case, is one label below kind.
func (n names) isInstance(name string) bool {
	return dns.IsSubDomain(n.kind, name) && dns.CountLabel(name) == dns.CountLabel(n.kind)+1
}

// escapeLabel writes a service name or an ID as one label: of what they may
// have, only the dot means something in DNS.
func escapeLabel(s string) string { return strings.ReplaceAll(s, ".", `\.`) }
