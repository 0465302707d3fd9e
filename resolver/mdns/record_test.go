package mdns_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/mdns"
)

// large returns an instance whose labels have n bytes in values of at most 1000.
func large(id string, n int) *resolver.Instance {
	inst := instance(id)
	inst.Labels = make(map[string]string)
	for i := 0; n > 0; i++ {
		size := min(n, 1000)
		inst.Labels[fmt.Sprint("text-", i)] = strings.Repeat("x", size)
		n -= size
	}
	return inst
}

func TestPackRoundTrip(t *testing.T) {
	t.Parallel()
	insts := []*resolver.Instance{
		instance("bare"),
		{ID: "v6", Service: "svc", Addrs: []string{"[2001:db8::1]:8080", "10.0.0.1:1"}, Draining: true},
		{ID: "zone", Service: "svc", Addrs: []string{"[fe80::1%eth0]:8080"}},
		{ID: "name", Service: "greeter.v1.Greeter", Addrs: []string{"host.example:8080"}, Version: "v1", Zone: "a", Weight: 4294967295},
		{ID: "odd", Service: "svc", Addrs: []string{"ho st\\:80"}},
		{ID: "socket", Service: "svc", Addrs: []string{"unix:///run/a\\b.sock"}},
		{ID: "Dots.and-CASE_", Service: "svc", Addrs: []string{"10.0.0.1:1"}, Labels: map[string]string{
			"=": "\\", "empty": "", "\\065": "\\\"\x00\n\x7f", "ünï": strings.Repeat("\\ü", 300),
		}},
		large("cut", 150), large("cut-2", 1000), large("whole", 8000),
	}
	packets, err := mdns.Pack("local", insts...)
	if err != nil {
		t.Fatal(err)
	}
	var got []*resolver.Instance
	for _, packet := range packets {
		here, skipped, err := mdns.Unpack("local", packet)
		if err != nil || skipped > 0 {
			t.Fatal(skipped, err)
		}
		if len(packet) > 1472 && len(here) > 1 {
			t.Errorf("%d instances share a packet of %d bytes", len(here), len(packet))
		}
		got = append(got, here...)
	}
	if diff := cmp.Diff(insts, got); diff != "" {
		t.Errorf("-packed +unpacked:\n%s", diff)
	}
	if len(packets) >= len(insts)-2 {
		t.Errorf("%d packets for %d instances, want small ones to share", len(packets), len(insts))
	}
	if elsewhere, skipped, err := mdns.Unpack("elsewhere.local", packets[0]); len(elsewhere) > 0 || skipped > 0 || err != nil {
		t.Errorf("in another domain: %v, %d, %v", elsewhere, skipped, err)
	}
}

// TestTooLarge is refused where it happens, with the number.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	at := domain()
	r := open(t, at)
	w := watch(t, open(t, at))
	_, err := r.Register(deadline(t), instance("a"), large("b", 9000))
	mention(t, "Register", err, "instance b of svc takes 9", "allows 8972", "labels")
	reg := register(t, r, large("c", 8000)) // goes over the wire whole
	w.wait("c")
	err = reg.Update(deadline(t), large("c", 10000))
	mention(t, "Update", err, "instance c of svc takes 10")
	if got := len(w.instances()[0].Labels); got != 8 {
		t.Errorf("%d labels after a refused update, want 8", got)
	}
	drained := large("c", 8000)
	drained.Draining = true
	if err := reg.Update(deadline(t), drained); err != nil {
		t.Error(err)
	}
	w.wait("c draining")
}

// TestUnpackRefuses has what is under our type and not ours.
func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	for name, txt := range map[string][]string{
		"nothing":         nil,
		"another's":       {"path=/"},
		"another version": {"txtvers=2", `0={}`},
		"no JSON":         {"txtvers=1", "0=path"},
		"pieces missing":  {"txtvers=1", `0={"service":"svc",`, `2="id":"a"}`},
		"an array":        {"txtvers=1", "0=[]"},
		"not since":       {"txtvers=1", `0={"service":"svc","id":"a","addrs":["h:1"]}`},
		"since too late":  {"txtvers=1", `0={"service":"svc","id":"a","addrs":["h:1"],"since":9223372036854775807}`},
		"never changed":   {"txtvers=1", `0={"service":"svc","id":"a","addrs":["h:1"],"since":1,"change":-1}`},
		"no service":      {"txtvers=1", `0={"id":"a","addrs":["h:1"],"since":1}`},
		"no address":      {"txtvers=1", `0={"service":"svc","id":"a","since":1}`},
		"bad address":     {"txtvers=1", `0={"service":"svc","id":"a","addrs":["h"],"since":1}`},
		"bad ID":          {"txtvers=1", `0={"service":"svc","id":"a/b","addrs":["h:1"],"since":1}`},
	} {
		insts, skipped, err := mdns.Unpack("local", response(t, "local", name, txt...))
		if err != nil || len(insts) > 0 || skipped != 1 {
			t.Errorf("%s: %v, %d skipped, %v, want it skipped", name, insts, skipped, err)
		}
	}
	insts, _, err := mdns.Unpack("local", response(t, "local", "ours", good("svc", "a")...))
	if err != nil || len(insts) != 1 || insts[0].ID != "a" {
		t.Errorf("a good one: %v, %v", insts, err)
	}
}

// good are the strings of a record as this package writes them.
func good(service, id string) []string {
	return []string{"txtvers=1", fmt.Sprintf(`0={"service":%q,"id":%q,"addrs":["10.0.0.1:1"],"since":1}`, service, id)}
}

// response is a packet that announces an instance by its TXT record alone.
func response(t testing.TB, domain, name string, txt ...string) []byte {
	t.Helper()
	label := strings.ReplaceAll(name, " ", "-")
	msg := dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Answer: []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: label + "._grpc-micro._tcp." + domain + ".", Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 120},
		Txt: txt,
	}}}
	packet, err := msg.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func FuzzUnpack(f *testing.F) {
	for _, insts := range [][]*resolver.Instance{{instance("a")}, {instance("b"), large("c", 600)}} {
		packets, err := mdns.Pack("local", insts...)
		if err != nil {
			f.Fatal(err)
		}
		for _, packet := range packets {
			f.Add(packet)
		}
	}
	f.Add(response(f, "local", "other", "path=/"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, packet []byte) {
		insts, _, err := mdns.Unpack("local", packet)
		if err != nil && len(insts) > 0 {
			t.Error("instances from a packet that cannot be read")
		}
		for _, inst := range insts {
			if err := inst.Validate(); err != nil {
				t.Errorf("unpacked an instance that is none: %v", err)
			}
		}
	})
}

// FuzzPack has what a registry announces read as it was.
func FuzzPack(f *testing.F) {
	f.Add("svc", "a", "10.0.0.1:80", "v1", "lane", "canary", true)
	f.Add("greeter.v1.Greeter", "A.b-1", "unix:///a\\b", "\\1\"", "", strings.Repeat("\\", 300), false)
	f.Fuzz(func(t *testing.T, service, id, addr, version, label, text string, draining bool) {
		inst := &resolver.Instance{
			ID: id, Service: service, Version: strings.ToValidUTF8(version, "?"), Addrs: []string{strings.ToValidUTF8(addr, "?")}, Draining: draining,
			Labels: map[string]string{strings.ToValidUTF8(label, "?"): strings.ToValidUTF8(text, "?")},
		}
		if inst.Validate() != nil {
			t.Skip("no registry would take it")
		}
		packets, err := mdns.Pack("local", inst)
		if err != nil {
			if !strings.Contains(err.Error(), "takes ") {
				t.Fatal(err)
			}
			return
		}
		got, skipped, err := mdns.Unpack("local", packets[0])
		if err != nil || skipped > 0 || len(got) != 1 || !got[0].Equal(inst) {
			t.Errorf("packed %+v, unpacked %v, %d, %v", inst, got, skipped, err)
		}
	})
}
