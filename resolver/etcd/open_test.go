package etcd_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/etcd"
)

func openURL(t testing.TB, url string) resolver.Registry {
	t.Helper()
	r, err := resolver.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestOpen(t *testing.T) {
	t.Parallel()
	at := prefix()
	r := openURL(t, "etcd://"+strings.Join(servers, ",")+"/"+at+"?ttl=20s&timeout=3s")
	if _, err := r.Register(deadline(t), instance("a")); err != nil {
		t.Fatal(err)
	}
	direct := openOn(t, connect(t, nil), at)
	if _, lease := direct.get("svc/a"); lease == 0 {
		t.Error("no lease")
	} else if ttl, err := direct.client.TimeToLive(deadline(t), lease); err != nil || ttl.GrantedTTL != 20 {
		t.Errorf("lease: %v, %v, want one of 20 s", ttl, err)
	}
	for url, want := range map[string]string{
		"etcd://h1":                        "[h1:2379]",
		"etcd://h1,h2:1234":                "[h1:2379 h2:1234]",
		"etcd://[::1]/p":                   "[[::1]:2379]",
		"etcd://[::1]:1234/p":              "[[::1]:1234]",
		"etcd://h1?tls=true":               "[h1:2379]",
		"etcd://h1?tls=true&server-name=x": "[h1:2379]",
	} {
		if got := fmt.Sprint(openURL(t, url).(*etcd.Registry).Endpoints()); got != want {
			t.Errorf("%s: endpoints %s, want %s", url, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"etcd://":                          "host:port",
		"etcd://h1,,h2":                    "empty host",
		"etcd://:2379":                     "empty host",
		"etcd://h1?colour=red":             `"colour"`,
		"etcd://h1?ttl=soon":               "ttl",
		"etcd://h1?ttl=1ms":                "1ms",
		"etcd://h1?ttl=10s&ttl=20s":        "2 times",
		"etcd://h1?timeout=-1s":            "timeout",
		"etcd://h1?tls=maybe":              "tls=maybe",
		"etcd://h1?ca=/nowhere":            "tls=true",
		"etcd://h1?tls=true&ca=/nowhere":   "/nowhere",
		"etcd://h1?tls=true&ca=open.go":    "no PEM certificate",
		"etcd://h1?tls=true&cert=/nowhere": "key",
		"etcd://h1?tls=true&cert=a&key=b":  "cert",
		"etcd://h1?a=%zz":                  "parameters",
		"etcd://h1/a//b":                   `"a//b"`,
		"etcd://h1/../b":                   "prefix",
		"etcd://h1#there":                  "#there",
		"etcd://user@h1":                   "user:password@",
		"etcd://:secret@h1":                "user:password@",
	} {
		_, err := resolver.Open(url)
		mention(t, url, err, want)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error has the password: %v", url, err)
		}
	}
	client := connect(t, nil)
	for want, opt := range map[string]etcd.Option{
		"prefix":     etcd.WithPrefix("/p/"),
		"TTL 0s":     etcd.WithTTL(0),
		"timeout 0s": etcd.WithTimeout(0),
		"WithLogger": etcd.WithLogger(nil),
	} {
		_, err := etcd.New(client, opt)
		mention(t, want, err, want)
	}
	_, err := etcd.New(nil)
	mention(t, "New(nil)", err, "clientv3.New")
}

// Every call ends within its deadline, or the timeout, and says where etcd
// should have been.
func TestEtcdIsNotThere(t *testing.T) {
	t.Parallel()
	mute := newProxy(t, servers[0])
	mute.mute()
	for what, addr := range map[string]string{"closed port": reserve(t), "silent": mute.addr()} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := openURL(t, "etcd://"+addr+"?timeout=1s")
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := r.Register(ctx, instance("a"))
			mention(t, "Register", err, addr, "is it running", "a of svc")
			_, err = r.Services(ctx)
			mention(t, "Services", err, addr, "is it running")
			_, err = r.Register(t.Context(), instance("a"))
			mention(t, "Register without a deadline", err, addr, "is it running")
			n := 0
			for insts, err := range r.Watch(t.Context(), "svc") {
				n++
				mention(t, "Watch without a deadline", err, addr, "is it running")
				if insts != nil {
					t.Errorf("Watch yields %v", insts)
				}
			}
			if took := time.Since(began); n != 1 || took > 10*time.Second {
				t.Errorf("%d yields in %v", n, took)
			}
		})
	}
}

func TestEtcdIsNotThereToLogIn(t *testing.T) {
	t.Parallel()
	addr := reserve(t)
	_, err := resolver.Open("etcd://user:secret@" + addr + "?timeout=500ms")
	mention(t, "Open with a user", err, addr, "is it running")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error has the password: %v", err)
	}
}

// Close does not wait for an etcd that is away.
func TestCloseWithoutEtcd(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, servers[0])
	r := openOn(t, connect(t, []string{proxy.addr()}), prefix())
	reg := r.register(instance("a"))
	proxy.mute()
	began := time.Now()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	<-reg.Lost()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}
