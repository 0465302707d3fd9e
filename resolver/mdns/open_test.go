package mdns_test

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/mdns"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	at := domain()
	r, err := resolver.Open("mdns://lo?domain=" + at + ".&ttl=5s&query=2s")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := fmt.Sprint(r.(*mdns.Registry).Endpoints()); got != "[127.0.0.1:5353]" {
		t.Errorf("endpoints %s, want loopback's", got)
	}
	w := watch(t, open(t, at)) // the dot at the end makes no difference
	register(t, r, instance("a"))
	w.wait("a")
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"mdns://lo/path":                "write mdns://",
		"mdns://user@lo":                "write mdns://",
		"mdns://lo#fragment":            "write mdns://",
		"mdns:lo":                       "write mdns://",
		"mdns://lo,":                    "empty name",
		"mdns://lo?colour=red":          `"colour"`,
		"mdns://lo?ttl=soon":            "duration",
		"mdns://lo?ttl=1ms":             "1ms",
		"mdns://lo?ttl=2h":              "2h",
		"mdns://lo?ttl=2s&ttl=3s":       "2 times",
		"mdns://lo?query=1ms":           "at least 1s",
		"mdns://lo?domain=":             "is empty",
		"mdns://lo?domain=a..b":         "label",
		"mdns://lo?domain=a_b":          "a_b",
		"mdns://lo?a=%zz":               "parameters",
		"mdns://no-such-interface?ttl=": "is empty",
		"mdns://no-such-interface":      `no network interface "no-such-interface": this machine has `,
	} {
		r, err := resolver.Open(url)
		if err == nil {
			_ = r.Close()
		}
		mention(t, url, err, want)
	}
	_, err := mdns.New(mdns.WithLogger(nil))
	mention(t, "no logger", err, "WithLogger")
}

// loopback is lo, made to look like another interface.
func loopback(t testing.TB, name string, flags net.Flags) net.Interface {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	return net.Interface{Index: lo.Index, MTU: lo.MTU, Name: name, Flags: flags}
}

// wired are the flags of an interface that will do. Loopback, whose packets may
// carry an address of another interface, needs its own.
const wired = net.FlagUp | net.FlagRunning | net.FlagMulticast

func TestInterfaces(t *testing.T) {
	t.Parallel()
	eth0 := loopback(t, "eth0", wired)
	unplugged := loopback(t, "eth1", net.FlagUp|net.FlagMulticast)
	deaf := loopback(t, "ifb0", net.FlagUp|net.FlagRunning)
	tunnel := loopback(t, "tun0", wired|net.FlagPointToPoint)
	lo := loopback(t, "lo", net.FlagUp|net.FlagRunning|net.FlagLoopback)
	bare := net.Interface{Index: 99999, Name: "eth2", Flags: wired} // without an address
	for name, test := range map[string]struct {
		have  []net.Interface
		named []string
		open  string // what New's error has, or Register's
		call  string
	}{
		"all":            {have: []net.Interface{lo, deaf, unplugged, eth0}},
		"named":          {have: []net.Interface{lo, eth0}, named: []string{"eth0"}},
		"loopback":       {have: []net.Interface{lo}, named: []string{"lo"}},
		"tunnel":         {have: []net.Interface{tunnel}, named: []string{"tun0"}},
		"not there":      {have: []net.Interface{lo, deaf, eth0}, named: []string{"eth9"}, open: `no network interface "eth9": this machine has lo, eth0`},
		"one not there":  {have: []net.Interface{lo, eth0}, named: []string{"eth0", "eth9"}, open: "eth9"},
		"no multicast":   {have: []net.Interface{deaf, eth0}, named: []string{"ifb0"}, open: `"ifb0" has no multicast: take one of eth0`},
		"not plugged in": {have: []net.Interface{unplugged}, named: []string{"eth1"}, call: "eth1 is not up"},
		"no address":     {have: []net.Interface{bare}, named: []string{"eth2"}, call: "no IPv4 address"},
		"nothing usable": {have: []net.Interface{lo, deaf, unplugged, tunnel, bare}, call: "mdns://lo"},
		"nothing at all": {call: "no network interface is up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := func() ([]net.Interface, error) { return test.have, nil }
			r, err := mdns.NewOn(list, mdns.WithInterfaces(test.named...), mdns.WithDomain(domain()), mdns.WithLogger(quiet), mdns.Impatient)
			if test.open != "" {
				mention(t, "New", err, "mdns: ", test.open)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			_, registered := r.Register(deadline(t), instance("a"))
			_, listed := r.Services(deadline(t))
			var watched error
			for _, watched = range r.Watch(deadline(t), "svc") {
				break
			}
			if test.call == "" {
				if err := errors.Join(registered, listed, watched); err != nil {
					t.Error(err)
				}
				return
			}
			mention(t, "Register", registered, "mdns: register a of svc", test.call)
			mention(t, "Services", listed, "mdns: list services", test.call)
			mention(t, "Watch", watched, "mdns: watch svc", test.call)
			if got := fmt.Sprint(r.Endpoints()); got != "[224.0.0.251:5353]" {
				t.Errorf("endpoints without a network: %s, want one to which there is no route", got)
			}
		})
	}
}

func TestInterfacesCannotBeListed(t *testing.T) {
	t.Parallel()
	_, err := mdns.NewOn(func() ([]net.Interface, error) { return nil, errors.New("netlink is broken") })
	mention(t, "New", err, "mdns: ", "netlink is broken")
}

// TestClose is bounded even while much is being said.
func TestClose(t *testing.T) {
	t.Parallel()
	at := domain()
	w := watch(t, open(t, at, mdns.WithTTL(time.Hour)))
	r := open(t, at, mdns.WithTTL(time.Hour))
	register(t, r, instance("a"))
	w.wait("a")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	w.wait("") // with a goodbye
}
