package micro_test

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/resolver"
)

// What an instance is announced as, for each form of the address; PORT is the
// one that is listened on.
func TestAdvertise(t *testing.T) {
	t.Setenv("MICRO_TEST_POD_IP", "10.1.2.3")
	t.Setenv("MICRO_TEST_POD_IP6", "fd00::7")
	socket := "unix://" + t.TempDir() + "/s.sock"
	for _, test := range []struct {
		name   string
		listen string
		addrs  []string
		want   []string
	}{
		{"the listener's", "127.0.0.1:0", nil, []string{"127.0.0.1:PORT"}},
		{"the listener's, IPv6", "[::1]:0", nil, []string{"[::1]:PORT"}},
		{"any interface, registry in the process", ":0", nil, []string{"127.0.0.1:PORT"}},
		{"a socket", socket, nil, []string{socket}},
		{"explicit", "127.0.0.1:0", []string{"example.com:443"}, []string{"example.com:443"}},
		{"without a port", "127.0.0.1:0", []string{"example.com", "10.0.0.1", "fd00::1", "[fd00::2]"}, []string{"example.com:PORT", "10.0.0.1:PORT", "[fd00::1]:PORT", "[fd00::2]:PORT"}},
		{"port 0", "127.0.0.1:0", []string{"example.com:0"}, []string{"example.com:PORT"}},
		{"environment", "127.0.0.1:0", []string{"$MICRO_TEST_POD_IP"}, []string{"10.1.2.3:PORT"}},
		{"environment with a port", "127.0.0.1:0", []string{"$MICRO_TEST_POD_IP:80", "$MICRO_TEST_POD_IP6:80"}, []string{"10.1.2.3:80", "[fd00::7]:80"}},
		{"environment, IPv6", "127.0.0.1:0", []string{"$MICRO_TEST_POD_IP6"}, []string{"[fd00::7]:PORT"}},
		{"interface", ":0", []string{"interface:lo"}, []string{"127.0.0.1:PORT"}},
		{"network", ":0", []string{"127.0.0.0/8"}, []string{"127.0.0.1:PORT"}},
		{"a socket beside", "127.0.0.1:0", []string{"example.com:80", "unix:///run/x.sock"}, []string{"example.com:80", "unix:///run/x.sock"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			reg := memory(t)
			svc := run(t, newService(reg, &server{id: "a"}, micro.WithAddress(test.listen), micro.WithAdvertise(test.addrs...)))
			_, port, err := net.SplitHostPort(svc.Addr().String())
			if err != nil && !strings.HasPrefix(test.listen, "unix:") {
				t.Fatal(err)
			}
			want := slices.Clone(test.want)
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "PORT", port)
			}
			if got := first(t, reg, "test"); len(got) != 1 || !slices.Equal(got[0].Addrs, want) {
				t.Errorf("announced as %v, want %v", got[0].Addrs, want)
			}
		})
	}
}

func TestAdvertiseRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		addr string
		want []string
	}{
		"empty variable":     {"$MICRO_TEST_NOT_SET", []string{"MICRO_TEST_NOT_SET", "downward API"}},
		"unknown interface":  {"interface:nope0", []string{"interface:nope0", "lo"}},
		"foreign network":    {"240.0.0.0/8", []string{"240.0.0.0/8", "127.0.0.1"}},
		"unspecified":        {"0.0.0.0", []string{"0.0.0.0", "unspecified"}},
		"unspecified, IPv6":  {"[::]:80", []string{"[::]:80", "unspecified"}},
		"no host":            {":80", []string{":80", "unspecified"}},
		"port is no number":  {"example.com:http", []string{"example.com:http"}},
		"socket has no path": {"unix:", []string{"no path"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			svc := micro.New("test", micro.WithRegistry(memory(t)), micro.WithAddress("127.0.0.1:0"),
				micro.WithAdvertise(test.addr), micro.WithLogger(slog.New(slog.DiscardHandler)))
			err := svc.Run(deadline(t))
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Run: %v, want %q in it", err, want)
				}
			}
		})
	}
}

// first returns the instances that d knows now.
func first(t *testing.T, d resolver.Discovery, service string) []*resolver.Instance {
	t.Helper()
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	for insts, err := range d.Watch(ctx, service) {
		if err != nil {
			t.Fatal(err)
		}
		return insts
	}
	t.Fatal("the watch ended")
	return nil
}
