package micro_test

import (
	"context"
	"iter"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
)

// Timeouts and the policy of a service change while its client runs, and a config
// that grpc refuses changes nothing.
func TestLiveServiceConfig(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	slow := make(chan struct{})
	t.Cleanup(func() { close(slow) })
	run(t, newService(reg, &server{id: "a"}, micro.WithVersion("v1")))
	run(t, newService(reg, &server{id: "b", unary: func(ctx context.Context) error {
		select {
		case <-slow:
		case <-ctx.Done():
		}
		return ctx.Err()
	}}, micro.WithVersion("v2")))
	set := func(json string) {
		t.Helper()
		if err := resolver.SetServiceConfig(deadline(t), reg, "test", json); err != nil {
			t.Fatal(err)
		}
	}
	set(`{"loadBalancingConfig":[{"micro_random":{"filter":{"version":"v1"}}}]}`)
	c := dial(t, "test", reg)
	for range 20 { // from the first call on: the config comes before the instances
		if id, err := call(deadline(t), c); err != nil || id != "a" {
			t.Fatalf("%q, %v, want only a", id, err)
		}
	}
	set(`{"loadBalancingConfig":[{"micro_least_request":{"filter":{"version":"v2"}}}],"methodConfig":[{"name":[{}],"timeout":"0.05s"}]}`)
	late := func() bool {
		_, err := call(deadline(t), c)
		return status.Code(err) == codes.DeadlineExceeded
	}
	wait.Until(t, "the new policy and timeout", late)
	if err := reg.SetServiceConfig(deadline(t), "test", `{"loadBalancingConfig":`); err != nil { // past the check
		t.Fatal(err)
	}
	for range 5 {
		if !late() {
			t.Fatal("a broken config changes something")
		}
	}
	set("") // clients that have it keep it, as grpc does, and a new one does not get it
	if !late() {
		t.Error("a config that is taken away is gone from a client that has it")
	}
	fresh := dial(t, "test", reg)
	wait.Until(t, "the client's own config", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience/20)
		defer cancel()
		id, err := call(ctx, fresh)
		return err == nil && id == "a"
	})
}

// A client that does not want it ignores it.
func TestServiceConfigDisabled(t *testing.T) {
	t.Parallel()
	reg := memory(t)
	run(t, newService(reg, &server{id: "a"}))
	if err := resolver.SetServiceConfig(deadline(t), reg, "test", `{"loadBalancingConfig":[{"micro_random":{"filter":{"version":"nope"}}}]}`); err != nil {
		t.Fatal(err)
	}
	c := dial(t, "test", reg, grpc.WithDisableServiceConfig(), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"micro_round_robin":{}}]}`))
	if id, err := call(deadline(t), c); err != nil || id != "a" {
		t.Errorf("%q, %v", id, err)
	}
}

// silent never says what the config is.
type silent struct{ *resolver.Memory }

func (silent) WatchServiceConfig(ctx context.Context, _ string) iter.Seq2[string, error] {
	return func(func(string, error) bool) { <-ctx.Done() }
}

// A registry that is silent about the config holds calls up for a moment only.
func TestServiceConfigUnknown(t *testing.T) {
	t.Parallel()
	reg := silent{memory(t)}
	run(t, newService(reg, &server{id: "a"}))
	if id, err := call(deadline(t), dial(t, "test", reg)); err != nil || id != "a" {
		t.Errorf("%q, %v", id, err)
	}
}
