package resolvertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/grpc-micro/micro/resolver"
)

const (
	roundRobin = `{"loadBalancingConfig":[{"round_robin":{}}]}`
	pickFirst  = `{"loadBalancingConfig":[{"pick_first":{}}]}`
)

// configurer returns r as a Configurer. Registries that keep no service config
// need not be one; then SetServiceConfig says so.
func configurer(t *testing.T, r resolver.Registry) resolver.Configurer {
	t.Helper()
	if c, ok := r.(resolver.Configurer); ok {
		return c
	}
	if err := resolver.SetServiceConfig(background(t), r, "svc", roundRobin); err == nil {
		t.Error("SetServiceConfig returns no error in a registry that is no Configurer")
	}
	t.Skip("it is no Configurer")
	return nil
}

// What is kept comes at once and at each change, and is of this service alone.
func serviceConfig(t *testing.T, r resolver.Registry) {
	c := configurer(t, r)
	v := watch(t, r, "svc")
	ctx, cancel := context.WithCancel(background(t))
	defer cancel()
	got := make(chan string, 16)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for json, err := range c.WatchServiceConfig(ctx, "svc") {
			if err != nil {
				t.Errorf("WatchServiceConfig: %v", err)
				return
			}
			got <- json
		}
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case json := <-got:
			if json != want {
				t.Fatalf("the config is %q, want %q", json, want)
			}
		case <-time.After(patience):
			t.Fatalf("no config, want %q", want)
		}
	}
	expect("")
	for _, json := range []string{roundRobin, pickFirst, "", roundRobin} {
		if err := resolver.SetServiceConfig(background(t), r, "other", pickFirst); err != nil {
			t.Fatal(err)
		}
		if err := resolver.SetServiceConfig(background(t), r, "svc", json); err != nil {
			t.Fatal(err)
		}
		expect(json)
	}
	for json, err := range c.WatchServiceConfig(ctx, "svc") { // a new one begins with what there is
		if json != roundRobin || err != nil {
			t.Errorf("a new watch begins with %q, %v", json, err)
		}
		break
	}
	a := instance("svc", "a") // it is no instance, and hides none
	mustRegister(t, r, a)
	v.wait(a)
	if names, err := r.Services(background(t)); err != nil || len(names) != 1 {
		t.Errorf("services: %v, %v, want one", names, err)
	}
	cancel()
	<-ended
}

func serviceConfigRefuses(t *testing.T, r resolver.Registry) {
	c := configurer(t, r)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, try := range map[string]func() error{
		"no JSON": func() error { return resolver.SetServiceConfig(background(t), r, "svc", "{") },
		"unknown policy": func() error {
			return resolver.SetServiceConfig(background(t), r, "svc", `{"loadBalancingConfig":[{"nope":{}}]}`)
		},
		"bad timeout": func() error {
			return resolver.SetServiceConfig(background(t), r, "svc", `{"methodConfig":[{"name":[{}],"timeout":"soon"}]}`)
		},
		"bad name": func() error { return resolver.SetServiceConfig(background(t), r, "a b", roundRobin) },
		"ended":    func() error { return c.SetServiceConfig(ended, "svc", roundRobin) },
		"bad watch": func() error {
			for _, err := range c.WatchServiceConfig(background(t), "a b") {
				return err
			}
			return nil
		},
	} {
		if try() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for json, err := range c.WatchServiceConfig(background(t), "svc") {
		if json != "" || err != nil {
			t.Errorf("a refused config was kept: %q, %v", json, err)
		}
		break
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range c.WatchServiceConfig(background(t), "svc") {
		if !errors.Is(err, resolver.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	if err := c.SetServiceConfig(background(t), "svc", roundRobin); !errors.Is(err, resolver.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
