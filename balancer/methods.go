package balancer

import (
	"encoding/json"
	"fmt"
	"strings"
)

// methodConfig is what a service config says of the calls of one method.
type methodConfig struct {
	filter Filter
	tiers  Filter
}

// parseMethods takes an object with the filter and the tiers of methods, by
// "package.Service/Method" or, for all methods of a service that are not named,
// "package.Service".
func parseMethods(c *config, raw json.RawMessage) error {
	parsed := map[string]struct {
		Filter json.RawMessage `json:"filter"`
		Tiers  json.RawMessage `json:"tiers"`
	}{}
	if err := ParseStrict(raw, &parsed); err != nil {
		return err
	}
	c.methods = make(map[string]*methodConfig, len(parsed))
	for name, fields := range parsed {
		service, method, named := strings.Cut(name, "/")
		if service == "" || named && (method == "" || strings.Contains(method, "/")) {
			return fmt.Errorf(`%q: write "package.Service/Method" or "package.Service"`, name)
		}
		m := &methodConfig{}
		var err error
		if fields.Filter != nil {
			m.filter, err = parseFilter(fields.Filter)
		}
		if fields.Tiers != nil && err == nil {
			m.tiers, err = parseTiers(fields.Tiers)
		}
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case m.filter == nil && m.tiers == nil:
			return fmt.Errorf("%s says nothing: leave it out, or give filter or tiers", name)
		}
		c.methods[name] = m
	}
	return nil
}

// method returns what is said of a method, or nil. It allocates nothing.
func (c *config) method(fullName string) *methodConfig {
	name := strings.TrimPrefix(fullName, "/")
	if m := c.methods[name]; m != nil {
		return m
	}
	service, _, _ := strings.Cut(name, "/")
	return c.methods[service]
}
