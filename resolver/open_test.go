package resolver_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/resolvertest"
)

func TestOpenedMemoryConforms(t *testing.T) {
	resolvertest.Run(t, func(t *testing.T) resolver.Registry {
		return open(t, "memory://"+strings.ReplaceAll(t.Name(), "/", "-"))
	})
}

func open(t *testing.T, rawURL string) resolver.Registry {
	t.Helper()
	r, err := resolver.Open(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// Two programs' worth of handles on one content: closing one of them ends its
// watches and its registrations, and nobody else's.
func TestOpenedMemoryIsSharedByName(t *testing.T) {
	t.Parallel()
	one, two, stranger := open(t, "memory://shared"), open(t, "memory://shared"), open(t, "memory://strange")
	register(t, one, instance("a", "h:1"))
	reg := register(t, two, instance("b", "h:1"))
	if n := len(listed(t, two)); n != 2 {
		t.Errorf("%d instances, want 2", n)
	}
	if n := len(listed(t, stranger)); n != 0 {
		t.Errorf("%d instances under another name", n)
	}
	for range 2 { // the second time it does nothing
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := listed(t, two); len(got) != 1 || got[0].ID != "b" {
		t.Errorf("after the other one closed: %v", got)
	}
	select {
	case <-reg.Lost():
		t.Error("lost by the Close of another")
	default:
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(listed(t, open(t, "memory://shared"))); n != 0 {
		t.Errorf("%d instances outlive the last Close", n)
	}
}

func TestOpenBadURLs(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"":                             "unknown scheme",
		"localhost":                    "unknown scheme",
		"zookeeper://h:1":              `"zookeeper"`,
		"zookeeper://h:2":              `import _ "github.com/grpc-micro/micro/resolver/etcd"`,
		"zookeeper://h:3":              "memory",
		"memory://":                    "memory://name",
		"memory://a/b":                 "memory://name",
		"memory://a?ttl=3":             "ttl=3",
		"://":                          "missing protocol scheme",
		"127.0.0.1:2379":               "first path segment",
		"zookeeper://u:secret@h":       "u:xxxxx@h",
		"zookeeper://u:secret%zz@h:%%": "malformed",
	} {
		_, err := resolver.Open(raw)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", raw, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v gives the password away", raw, err)
		}
	}
}

var schemes atomic.Int32 // for -count: a scheme stays for the life of the process

func TestRegisterScheme(t *testing.T) {
	t.Parallel()
	scheme := fmt.Sprintf("test-%d", schemes.Add(1))
	m := memory(t)
	var got *url.URL
	open := func(u *url.URL) (resolver.Registry, error) { got = u; return m, nil }
	resolver.RegisterScheme(scheme, open)
	r, err := resolver.Open(strings.ToUpper(scheme) + "://h1,h2/prefix?x=1")
	if r != m || err != nil || got.Host != "h1,h2" || got.Path != "/prefix" || got.RawQuery != "x=1" {
		t.Errorf("%v, %v, from %v", r, err, got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a scheme can be registered twice")
		}
	}()
	resolver.RegisterScheme(scheme, open)
}
