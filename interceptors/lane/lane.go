package lane

import (
	"context"

	"github.com/grpc-micro/micro/balancer"
)

const (
	// Header is the key of the lane in metadata and in events.
	Header = "micro-lane"

	// Label is the label by which an instance is in a lane.
	Label = "lane"

	// Stable is the lane of the instances that serve whatever is in no lane.
	Stable = "stable"
)

type key struct{}

// With puts ctx into a lane: letters, digits, '.', '_' and '-', at most 63 of
// them. Any other name, Stable and the empty one put it into none.
func With(ctx context.Context, name string) context.Context {
	if !valid(name) {
		name = ""
	}
	if name == From(ctx) {
		return ctx
	}
	return context.WithValue(ctx, key{}, name)
}

// From returns the lane that ctx is in, or "".
func From(ctx context.Context) string {
	name, _ := ctx.Value(key{}).(string)
	return name
}

func valid(name string) bool {
	if name == "" || name == Stable || len(name) > 63 {
		return false
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return true
}

// stable keeps the instances that are in no lane.
var stable = balancer.Or(balancer.Not(balancer.HasLabel(Label)), balancer.Label(Label, Stable))

// Option changes where clients send calls.
type Option func(*options)

type options struct{ any bool }

// WithAny lets a call go to any instance, of whatever lane, when there is
// neither one of its own nor a stable one. By default it fails.
func WithAny() Option { return func(o *options) { o.any = true } }

func newOptions(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// tiers says where a call in a lane may go.
func (o options) tiers(name string) []balancer.Filter {
	tiers := make([]balancer.Filter, 0, 3)
	if name != "" {
		tiers = append(tiers, balancer.Label(Label, name))
	}
	tiers = append(tiers, stable)
	if o.any {
		tiers = append(tiers, balancer.And())
	}
	return tiers
}
