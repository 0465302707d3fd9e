package etcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/grpc-micro/micro/resolver"
)

// value is what etcd's gRPC naming client writes and reads: its internal
// update, of which 0 adds an address.
type value struct {
	Op       int             `json:"Op"`
	Addr     string          `json:"Addr"`
	Metadata json.RawMessage `json:"Metadata,omitempty"`
}

// details are our part of its Metadata. Service and ID are in the key.
type details struct {
	Version  string            `json:"version,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	More     []string          `json:"addrs,omitempty"` // the addresses behind the primary
	Weight   uint32            `json:"weight,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Draining bool              `json:"draining,omitempty"`
	Local    string            `json:"local,omitempty"` // for clients on one host
}

func encode(inst *resolver.Instance) (string, error) {
	meta, err := json.Marshal(details{
		Version: inst.Version, Zone: inst.Zone, More: inst.Addrs[1:],
		Weight: inst.Weight, Labels: inst.Labels, Draining: inst.Draining, Local: inst.Local,
	})
	if err != nil {
		return "", fmt.Errorf("etcd: encode instance %s of %s: %w", inst.ID, inst.Service, err)
	}
	data, err := json.Marshal(value{Addr: inst.Addrs[0], Metadata: meta})
	if err != nil {
		return "", fmt.Errorf("etcd: encode instance %s of %s: %w", inst.ID, inst.Service, err)
	}
	return string(data), nil
}

// decode reads a value. Metadata that is no object is somebody else's, and
// takes nothing from the address.
func decode(service, id string, data []byte) (*resolver.Instance, error) {
	if id == "" || strings.Contains(id, "/") {
		return nil, fmt.Errorf("the key ends in %q, which is no ID", id)
	}
	var v value
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("the value is no instance in JSON: %w", err)
	}
	if v.Op != 0 {
		return nil, fmt.Errorf("operation %d, want 0", v.Op)
	}
	if v.Addr == "" {
		return nil, errors.New("no address")
	}
	var m details
	if len(v.Metadata) > 0 && v.Metadata[0] == '{' {
		if err := json.Unmarshal(v.Metadata, &m); err != nil {
			return nil, fmt.Errorf("metadata: %w", err)
		}
	}
	inst := &resolver.Instance{
		ID: id, Service: service, Version: m.Version, Zone: m.Zone,
		Addrs: append([]string{v.Addr}, m.More...), Weight: m.Weight, Labels: m.Labels, Draining: m.Draining, Local: m.Local,
	}
	// Other programs name keys as they like: etcd's own examples end them in the
	// address, which could not be registered here, and serves as well as any.
	checked := *inst
	checked.ID = "id"
	if err := checked.Validate(); err != nil {
		return nil, err
	}
	return inst, nil
}
