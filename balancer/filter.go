package balancer

import (
	"fmt"

	"github.com/grpc-micro/micro/resolver"
)

// Filter says which instances may be picked. Filters are comparable: what one
// keeps is cached under it, so that a filtered pick costs what another does.
// Those of this package are equal when they say the same.
type Filter interface {
	fmt.Stringer

	// match reports whether the instance may be picked. It is pure.
	match(inst *resolver.Instance) bool
}

// Version keeps the instances of one version, compared as text. See VersionRange.
func Version(version string) Filter { return versionFilter(version) }

type versionFilter string

func (f versionFilter) match(inst *resolver.Instance) bool { return inst.Version == string(f) }
func (f versionFilter) String() string                     { return fmt.Sprintf("version %q", string(f)) }

// Zone keeps the instances in one zone.
func Zone(zone string) Filter { return zoneFilter(zone) }

type zoneFilter string

func (f zoneFilter) match(inst *resolver.Instance) bool { return inst.Zone == string(f) }
func (f zoneFilter) String() string                     { return fmt.Sprintf("zone %q", string(f)) }

// Label keeps the instances whose label key has this value.
func Label(key, value string) Filter { return labelFilter{key, value} }

type labelFilter struct{ key, value string }

func (f labelFilter) match(inst *resolver.Instance) bool {
	value, ok := inst.Labels[f.key]
	return ok && value == f.value
}
func (f labelFilter) String() string { return fmt.Sprintf("label %s=%q", f.key, f.value) }

// HasLabel keeps the instances that have the label key, whatever its value.
func HasLabel(key string) Filter { return hasLabelFilter(key) }

type hasLabelFilter string

func (f hasLabelFilter) match(inst *resolver.Instance) bool {
	_, ok := inst.Labels[string(f)]
	return ok
}
func (f hasLabelFilter) String() string { return "label " + string(f) }

// And keeps what every filter keeps; without filters, everything. It is a
// function and not a slice type, because a slice would not be comparable.
func And(filters ...Filter) Filter {
	return fold(filters, all{}, func(a, b Filter) Filter { return andFilter{a, b} })
}

// Or keeps what any filter keeps; without filters, nothing.
func Or(filters ...Filter) Filter {
	return fold(filters, notFilter{all{}}, func(a, b Filter) Filter { return orFilter{a, b} })
}

// fold makes a comparable tree of pairs. A nil filter is none at all.
func fold(filters []Filter, none Filter, pair func(a, b Filter) Filter) Filter {
	var folded Filter
	for _, f := range filters {
		switch {
		case f == nil:
		case folded == nil:
			folded = f
		default:
			folded = pair(folded, f)
		}
	}
	if folded == nil {
		return none
	}
	return folded
}

type andFilter struct{ a, b Filter }

func (f andFilter) match(inst *resolver.Instance) bool { return f.a.match(inst) && f.b.match(inst) }
func (f andFilter) String() string                     { return fmt.Sprintf("(%v and %v)", f.a, f.b) }

type orFilter struct{ a, b Filter }

func (f orFilter) match(inst *resolver.Instance) bool { return f.a.match(inst) || f.b.match(inst) }
func (f orFilter) String() string                     { return fmt.Sprintf("(%v or %v)", f.a, f.b) }

// Not keeps what f does not keep.
func Not(f Filter) Filter { return notFilter{And(f)} }

type notFilter struct{ f Filter }

func (f notFilter) match(inst *resolver.Instance) bool { return !f.f.match(inst) }
func (f notFilter) String() string                     { return fmt.Sprintf("not %v", f.f) }

type all struct{}

func (all) match(*resolver.Instance) bool { return true }
func (all) String() string                { return "everything" }

// For applies f to the instances of service only, and keeps those of others. A
// context travels on into calls to other services; For keeps a filter at home.
// The service is the name by which the connection resolves it.
func For(service string, f Filter) Filter { return forFilter{service, And(f)} }

type forFilter struct {
	service string
	f       Filter
}

func (f forFilter) match(inst *resolver.Instance) bool {
	return inst.Service != f.service || f.f.match(inst)
}
func (f forFilter) String() string { return fmt.Sprintf("for %s: %v", f.service, f.f) }

// NewFilter keeps the instances for which keep returns true. keep must be pure
// and quick; it is called once an instance and update, and the answer is
// cached under the Filter returned here: make it once, not once a call.
func NewFilter(keep func(*resolver.Instance) bool) Filter { return &funcFilter{keep} }

type funcFilter struct{ keep func(*resolver.Instance) bool }

func (f *funcFilter) match(inst *resolver.Instance) bool { return f.keep(inst) }
func (f *funcFilter) String() string                     { return "a function" }
