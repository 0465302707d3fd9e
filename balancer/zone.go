package balancer

import (
	"encoding/json"
	"errors"
)

// zoneConfig is the part "zoneFirst" of a config: calls stay in the client's
// zone, as long as that can take them.
type zoneConfig struct {
	Zone string `json:"zone"`

	// PanicThreshold is the share of the zone's instances, in percent, that has
	// to be usable. With fewer, the rest would break under the calls of all, and
	// calls go to every zone.
	PanicThreshold int `json:"panicThreshold"`

	// MinInstances is how many have to be usable.
	MinInstances int `json:"minInstances"`
}

func parseZoneFirst(c *config, raw json.RawMessage) error {
	z := &zoneConfig{PanicThreshold: 70, MinInstances: 1}
	if err := ParseStrict(raw, z); err != nil {
		return err
	}
	if c.zone = z; z.Zone == "" {
		return errors.New("zone is missing: give the client's own")
	}
	if err := within("minInstances", z.MinInstances, 1, 1<<20); err != nil {
		return err
	}
	return within("panicThreshold", z.PanicThreshold, 0, 100)
}

// narrow returns those of the ready endpoints that are in the zone, or all of
// them when the zone is too small, or when too few of its instances, counted by
// known, are usable.
func (z *zoneConfig) narrow(ready []*Endpoint, known int) []*Endpoint {
	var local []*Endpoint
	for _, e := range ready {
		if e.Instance().Zone == z.Zone {
			local = append(local, e)
		}
	}
	if len(local) < z.MinInstances || 100*len(local) < z.PanicThreshold*known {
		return ready
	}
	return local
}
