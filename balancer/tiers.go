package balancer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/grpc-micro/micro/resolver"
)

// WithTiers lets the calls of ctx go to the first of these filters that keeps a
// usable instance: one that neither drains nor is ejected, and that is connected
// or has not failed to be yet.
//
//	WithTiers(ctx, Label("lane", "x"), Label("lane", "stable"))        // or else fail
//	WithTiers(ctx, Label("lane", "x"), Label("lane", "stable"), And()) // or else any
//
// Filters of the call and of the connection hold in each tier. Tiers of the
// call stand in the place of those of the method and of the connection, and a
// second WithTiers in the place of the first; without a tier, it takes tiers
// away. For keeps a tier at home: other services are all in it.
func WithTiers(ctx context.Context, tiers ...Filter) context.Context {
	t := newTiers(tiers)
	if t == nil {
		t = tier{first: all{}}
	}
	return withCall(ctx, func(c *call) { c.tiers = t })
}

// HasTiers reports whether the calls of ctx have tiers: for interceptors, which
// should leave to a call what it has said itself.
func HasTiers(ctx context.Context) bool {
	c := fromContext(ctx)
	return c != nil && c.tiers != nil
}

// tier is a list of filters, comparable as a slice is not. It is a Filter, of
// what any of them keeps.
type tier struct {
	first Filter
	rest  Filter // another tier, or nil
}

func newTiers(filters []Filter) Filter {
	var t Filter
	for _, f := range slices.Backward(filters) {
		t = tier{And(f), t}
	}
	return t
}

// list returns the filters of tiers in their order, one that keeps everything
// if there are none.
func listOf(tiers Filter) []Filter {
	if tiers == nil {
		return []Filter{all{}}
	}
	var list []Filter
	for t, ok := tiers.(tier); ok; t, ok = t.rest.(tier) {
		list = append(list, t.first)
	}
	return list
}

func (t tier) match(inst *resolver.Instance) bool {
	return t.first.match(inst) || t.rest != nil && t.rest.match(inst)
}

func (t tier) String() string {
	if t.rest == nil {
		return t.first.String()
	}
	return fmt.Sprintf("%v, else %v", t.first, t.rest)
}

// parseTiers takes a list of filters, of which the last may be "any".
func parseTiers(raw json.RawMessage) (Filter, error) {
	var list []json.RawMessage
	if err := ParseStrict(raw, &list); err != nil {
		return nil, err
	}
	filters := make([]Filter, len(list))
	for i, raw := range list {
		if string(raw) == `"any"` {
			if i < len(list)-1 {
				return nil, errors.New(`nothing comes after "any"`)
			}
			filters[i] = all{}
			continue
		}
		var err error
		if filters[i], err = parseFilter(raw); err != nil {
			return nil, fmt.Errorf("tier %d: %w", i+1, err)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("there is none: leave it out, or give filters")
	}
	return newTiers(filters), nil
}

func parseConfigTiers(c *config, raw json.RawMessage) (err error) {
	c.tiers, err = parseTiers(raw)
	return err
}
