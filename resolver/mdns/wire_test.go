package mdns_test

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	hashicorp "github.com/hashicorp/mdns"
	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver/mdns"
)

var group = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}

// wire is a program on loopback that speaks multicast DNS.
type wire struct {
	t    testing.TB
	conn *ipv4.PacketConn
	buf  []byte
}

// onWire opens one with the port of multicast DNS, which hears all, or with a
// port of its own, as a resolver does that knows nothing of it.
func onWire(t testing.TB, own bool) *wire {
	t.Helper()
	at := group.String()
	if own {
		at = ":0"
	}
	c, err := net.ListenPacket("udp4", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	conn := ipv4.NewPacketConn(c)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetMulticastInterface(lo); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetMulticastLoopback(true); err != nil {
		t.Fatal(err)
	}
	if !own {
		if err := conn.JoinGroup(lo, group); err != nil {
			t.Fatal(err)
		}
	}
	return &wire{t, conn, make([]byte, 1<<16)}
}

func (w *wire) send(packet []byte, to *net.UDPAddr) {
	w.t.Helper()
	if _, err := w.conn.WriteTo(packet, nil, to); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) ask(name string, kind uint16) {
	w.t.Helper()
	query := dns.Msg{MsgHdr: dns.MsgHdr{Id: 4711}, Question: []dns.Question{{Name: name, Qtype: kind, Qclass: dns.ClassINET}}}
	packet, err := query.Pack()
	if err != nil {
		w.t.Fatal(err)
	}
	w.send(packet, group)
}

// receive waits for a message that is wanted.
func (w *wire) receive(what string, want func(m *dns.Msg) bool) (m *dns.Msg, packet []byte, from *net.UDPAddr) {
	w.t.Helper()
	if err := w.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	for {
		n, _, addr, err := w.conn.ReadFrom(w.buf)
		if err != nil {
			w.t.Fatalf("waiting for %s: %v", what, err)
		}
		if m = new(dns.Msg); m.Unpack(w.buf[:n]) == nil && want(m) {
			return m, slices.Clone(w.buf[:n]), addr.(*net.UDPAddr)
		}
	}
}

func kind(domain string) string { return "_grpc-micro._tcp." + domain + "." }

// about reports whether a message is an answer in which a name occurs.
func about(name string) func(*dns.Msg) bool {
	return func(m *dns.Msg) bool {
		return m.Response && slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return strings.Contains(rr.String(), name) })
	}
}

// TestOtherPrograms see what is announced as DNS-SD has it.
func TestOtherPrograms(t *testing.T) {
	t.Parallel()
	at := domain()
	r := open(t, at)
	inst := instance("a")
	inst.Service = "greeter.v1.Greeter"
	register(t, r, inst)
	w := onWire(t, true)
	for name, qtype := range map[string]uint16{
		kind(at):                                dns.TypePTR,
		`greeter\.v1\.greeter._sub.` + kind(at): dns.TypePTR,
		strings.ToUpper(kind(at)):               dns.TypeANY,
	} {
		w.ask(name, qtype)
		m, _, _ := w.receive("an answer about "+name, about("a-"))
		if m.Id != 4711 || len(m.Question) != 1 {
			t.Errorf("%s: ID %d, questions %v", name, m.Id, m.Question)
		}
		found := make(map[uint16]dns.RR)
		for _, rr := range m.Answer {
			found[rr.Header().Rrtype] = rr
			if rr.Header().Class != dns.ClassINET || rr.Header().Ttl != 5 {
				t.Errorf("%s: class or time to live of %v", name, rr)
			}
		}
		srv, ok := found[dns.TypeSRV].(*dns.SRV)
		if !ok || srv.Port != 80 {
			t.Fatalf("%s: no port in %v", name, m.Answer)
		}
		if a, ok := found[dns.TypeA].(*dns.A); !ok || a.Hdr.Name != srv.Target || a.A.String() != "127.0.0.1" {
			t.Errorf("%s: no address of %s in %v", name, srv.Target, m.Answer)
		}
		if txt, ok := found[dns.TypeTXT].(*dns.TXT); !ok || txt.Hdr.Name != srv.Hdr.Name || txt.Txt[0] != "txtvers=1" {
			t.Errorf("%s: no text in %v", name, m.Answer)
		}
		w.ask(srv.Hdr.Name, dns.TypeSRV)
		w.receive("the port", about(srv.Target))
		w.ask(srv.Target, dns.TypeA)
		w.receive("the address", about("127.0.0.1"))
	}
	w.ask("_services._dns-sd._udp."+at+".", dns.TypePTR)
	w.receive("the type", about(kind(at)))
}

// TestManyQuestions are in one packet, all the same: the answer is as long as to
// one.
func TestManyQuestions(t *testing.T) {
	t.Parallel()
	at := domain()
	register(t, open(t, at), instance("a"))
	w := onWire(t, true)
	query := dns.Msg{MsgHdr: dns.MsgHdr{Id: 1}, Compress: true}
	for range 2000 {
		query.Question = append(query.Question, dns.Question{Name: kind(at), Qtype: dns.TypePTR, Qclass: dns.ClassINET})
	}
	packet, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	w.send(packet, group)
	w.ask(kind(at), dns.TypePTR)
	answers := 0
	w.receive("both answers", func(m *dns.Msg) bool {
		if m.Id == 1 {
			answers += len(m.Answer)
		}
		return m.Id == 4711
	})
	if answers != 5 { // records
		t.Errorf("%d records for one instance", answers)
	}
}

// TestBrowser asks as who uses multicast DNS all the time does, and is answered
// by multicast, with the rest of such askers.
func TestBrowser(t *testing.T) {
	t.Parallel()
	at := domain()
	w := onWire(t, false)
	r := open(t, at)
	register(t, r, instance("first"))
	w.receive("the announcement", about("first-"))
	for range 50 {
		w.ask(kind(at), dns.TypePTR)
	}
	w.ask("_services._dns-sd._udp."+at+".", dns.TypePTR)
	answers := 0
	w.receive("the type", func(m *dns.Msg) bool {
		if about("first-")(m) {
			answers++
		}
		return about(`_services._dns-sd._udp.` + at)(m)
	})
	register(t, r, instance("second"))
	m, _, from := w.receive("another one", func(m *dns.Msg) bool {
		if about("first-")(m) {
			answers++
		}
		return about("second-")(m)
	})
	if from.Port != 5353 || m.Id != 0 || len(m.Question) > 0 || !m.Authoritative {
		t.Errorf("announced from %v: %v", from, m)
	}
	if answers > 5 {
		t.Errorf("50 questions in a moment are answered %d times", answers)
	}
}

// TestJunk is skipped, logged once and counted, and hides nothing.
func TestJunk(t *testing.T) {
	t.Parallel()
	at := domain()
	var logged wait.Log
	r := open(t, at, mdns.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	v := watch(t, r)
	w := onWire(t, false)
	whole := response(t, at, "ours", good("svc", "a")...)
	for range 3 {
		w.send([]byte("no DNS"), group)
		w.send(whole[:len(whole)-3], group)
		w.send(response(t, at, "printer", "path=/"), group)
		w.send(response(t, at, "newer", "txtvers=2"), group)
		w.send(response(t, "other.test", "elsewhere", "path=/"), group)
	}
	w.send(whole, group)
	v.wait("a")
	if got := r.Unreadable(); got != 3 { // one sender, two names
		t.Errorf("%d are counted, want 3", got)
	}
	for _, text := range []string{"from=\"packets from ", "printer._grpc-micro", "newer._grpc-micro"} {
		if got := strings.Count(logged.String(), text); got != 1 {
			t.Errorf("%s is in %d lines of the log, want 1", text, got)
		}
	}
}

// TestForeignServer is one of hashicorp/mdns that has our type.
func TestForeignServer(t *testing.T) {
	t.Parallel()
	at := domain()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	zone, err := hashicorp.NewMDNSService("foreign", "_grpc-micro._tcp", at+".", "host.test.", 80, []net.IP{{127, 0, 0, 1}}, []string{"path=/"})
	if err != nil {
		t.Fatal(err)
	}
	server, err := hashicorp.NewServer(&hashicorp.Config{Zone: zone, Iface: lo, Logger: log.New(io.Discard, "", 0)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	var logged wait.Log
	r := open(t, at, mdns.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	register(t, open(t, at), instance("a"))
	wait.Until(t, "the foreign instance to be skipped", func() bool {
		names, err := r.Services(deadline(t))
		if got := fmt.Sprint(names); got != "[svc]" {
			t.Fatalf("Services: %s, %v", got, err)
		}
		return strings.Count(logged.String(), "foreign._grpc-micro") == 1
	})
}

// TestReplay is of packets that took the longer way through the LAN.
func TestReplay(t *testing.T) {
	t.Parallel()
	at := domain()
	w := onWire(t, false)
	v := watch(t, open(t, at))
	r := open(t, at)
	reg := register(t, r, instance("a"))
	_, first, _ := w.receive("the announcement", about("a-"))
	v.wait("a")
	second := instance("a")
	second.Version = "v2"
	if err := reg.Update(deadline(t), second); err != nil {
		t.Fatal(err)
	}
	_, changed, _ := w.receive("the change", about("v2"))
	v.wait("a@v2")
	w.send(first, group)
	marker := register(t, r, instance("marker-1"))
	v.wait("a@v2, marker-1")
	if err := reg.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	v.wait("marker-1")
	w.send(changed, group)
	register(t, r, instance("marker-2"))
	v.wait("marker-1, marker-2")
	if err := marker.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	v.wait("marker-2")
}

// TestFastClock is that of another host, an hour ahead. Who registers after it
// has been heard is the later one all the same.
func TestFastClock(t *testing.T) {
	t.Parallel()
	at := domain()
	r := open(t, at)
	v := watch(t, r)
	since := time.Now().Add(time.Hour).UnixMicro()
	onWire(t, false).send(response(t, at, "fast", "txtvers=1", fmt.Sprintf(`0={"service":"svc","id":"a","version":"v1","addrs":["10.0.0.1:1"],"since":%d}`, since)), group)
	v.wait("a@v1")
	mine := instance("a")
	mine.Version = "v2"
	register(t, r, mine)
	v.wait("a@v2")
}

// TestSpoof has answers from a port that is not that of multicast DNS, and
// answers to a question that nobody has asked.
func TestSpoof(t *testing.T) {
	t.Parallel()
	at := domain()
	w, other := onWire(t, false), onWire(t, true)
	v := watch(t, open(t, at))
	query, _, from := w.receive("the question", func(m *dns.Msg) bool {
		return !m.Response && strings.HasSuffix(m.Question[0].Name, kind(at)) && m.Id != 0
	})
	answer := func(id uint16, name string) []byte {
		var m dns.Msg
		if err := m.Unpack(response(t, at, name, good("svc", name)...)); err != nil {
			t.Fatal(err)
		}
		m.Id = id
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return packet
	}
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: from.Port}
	other.send(answer(0, "to-all"), group)
	other.send(answer(query.Id+1, "guessed"), to)
	other.send(answer(query.Id, "asked-for"), to)
	w.send(answer(0, "good"), group)
	v.wait("asked-for, good")
}

// TestMulticastLost has an instance whose answers to all get lost, after its first
// words. The others ask it directly before they give it up.
func TestMulticastLost(t *testing.T) {
	t.Parallel()
	const ttl = 5 // seconds: the last third, in which it is asked, outlasts a pause of a busy machine
	at := domain()
	w := onWire(t, false)
	v := watch(t, open(t, at))
	say := func(id uint16, to *net.UDPAddr) {
		t.Helper()
		var m dns.Msg
		if err := m.Unpack(response(t, at, "a", good("svc", "a")...)); err != nil {
			t.Fatal(err)
		}
		m.Id, m.Answer[0].Header().Ttl = id, ttl
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		w.send(packet, to)
	}
	asked := func(m *dns.Msg) bool {
		return !m.Response && m.Id != 0 && m.Question[0].Name == "svc._sub."+kind(at)
	}
	w.receive("the first question", asked)
	say(0, group)
	v.wait("a")
	yields := v.count()
	for began := time.Now(); time.Since(began) < (ttl+1)*time.Second; { // longer than it lives without an answer
		m, _, from := w.receive("a direct question", asked)
		say(m.Id, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: from.Port})
	}
	if got := v.count(); got != yields || v.String() != "a" {
		t.Errorf("%d snapshots more, the last is %q: it was given up", got-yields, v)
	}
	v.wait("") // in the end
}
