package balancer

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

// filterConfig is a Filter in JSON.
type filterConfig struct {
	Version      *string           `json:"version"`
	VersionRange *string           `json:"versionRange"`
	Zone         *string           `json:"zone"`
	Labels       map[string]string `json:"labels"`
	HasLabel     *string           `json:"hasLabel"`
	And          []filterConfig    `json:"and"`
	Or           []filterConfig    `json:"or"`
	Not          *filterConfig     `json:"not"`
}

func parseFilter(raw json.RawMessage) (Filter, error) {
	var c filterConfig
	if err := ParseStrict(raw, &c); err != nil {
		return nil, err
	}
	return c.filter()
}

func (c *filterConfig) filter() (Filter, error) {
	var parts []Filter
	if c.Version != nil {
		parts = append(parts, Version(*c.Version))
	}
	if c.VersionRange != nil {
		f, err := VersionRange(*c.VersionRange)
		if err != nil {
			return nil, err
		}
		parts = append(parts, f)
	}
	if c.HasLabel != nil {
		parts = append(parts, HasLabel(*c.HasLabel))
	}
	if c.Zone != nil {
		parts = append(parts, Zone(*c.Zone))
	}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		parts = append(parts, Label(key, c.Labels[key]))
	}
	for _, group := range []struct {
		of   []filterConfig
		join func(...Filter) Filter
	}{{c.And, And}, {c.Or, Or}} {
		if group.of == nil {
			continue
		}
		filters := make([]Filter, len(group.of))
		for i := range group.of {
			var err error
			if filters[i], err = group.of[i].filter(); err != nil {
				return nil, err
			}
		}
		parts = append(parts, group.join(filters...))
	}
	if c.Not != nil {
		f, err := c.Not.filter()
		if err != nil {
			return nil, err
		}
		parts = append(parts, Not(f))
	}
	if len(parts) == 0 {
		return nil, errors.New(`it says nothing: leave it out, or give version, versionRange, zone, labels, hasLabel, and, or, not`)
	}
	return And(parts...), nil
}
