package resolver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A snapshot is a file: a line with what it is, its version and the checksum of
// the rest, and the rest, which is JSON.
const (
	snapshotVersion = 1
	snapshotHeader  = "micro-instances %d %08x\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshot is what the file of a service holds.
type snapshot struct {
	Service   string          `json:"service"`
	Saved     time.Time       `json:"saved"`
	Instances []savedInstance `json:"instances"` // sorted by ID
}

type savedInstance struct {
	ID       string            `json:"id"`
	Version  string            `json:"version,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Addrs    []string          `json:"addrs"`
	Weight   uint32            `json:"weight,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Draining bool              `json:"draining,omitempty"`
	Local    string            `json:"local,omitempty"`
}

func snapshotFile(dir, service string) string { return filepath.Join(dir, service+".instances") }

// writeSnapshot replaces the file of a service, all or nothing, also when the
// machine crashes meanwhile.
func writeSnapshot(dir, service string, insts []*Instance) (err error) {
	content := snapshot{Service: service, Saved: time.Now().UTC(), Instances: make([]savedInstance, len(insts))}
	for i, inst := range insts {
		content.Instances[i] = savedInstance{inst.ID, inst.Version, inst.Zone, inst.Addrs, inst.Weight, inst.Labels, inst.Draining, inst.Local}
	}
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, service+".*.tmp")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, snapshotHeader, snapshotVersion, crc32.Checksum(data, castagnoli))
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), snapshotFile(dir, service))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the folder is the caller's choice
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readSnapshot returns what was written last. No file is no error, and no
// instances.
func readSnapshot(dir, service string) (insts []*Instance, saved time.Time, err error) {
	data, err := os.ReadFile(snapshotFile(dir, service))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	content, err := parseSnapshot(data)
	if err == nil && content.Service != service {
		err = fmt.Errorf("it is about %s", content.Service)
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	insts = make([]*Instance, len(content.Instances))
	for i, s := range content.Instances {
		insts[i] = &Instance{
			ID: s.ID, Service: service, Version: s.Version, Zone: s.Zone, Addrs: s.Addrs,
			Weight: s.Weight, Labels: s.Labels, Draining: s.Draining, Local: s.Local,
		}
	}
	return insts, content.Saved, nil
}

func parseSnapshot(data []byte) (*snapshot, error) {
	header, rest, _ := bytes.Cut(data, []byte("\n"))
	var version int
	var sum uint32
	if _, err := fmt.Sscanf(string(header)+"\n", snapshotHeader, &version, &sum); err != nil {
		return nil, errors.New("it is no snapshot of instances, or only the beginning of one")
	}
	if version != snapshotVersion {
		return nil, fmt.Errorf("it has version %d of the format, and this program knows %d", version, snapshotVersion)
	}
	if got := crc32.Checksum(rest, castagnoli); got != sum {
		return nil, fmt.Errorf("it is damaged: its checksum is %08x, and should be %08x", got, sum)
	}
	var content snapshot
	if err := json.Unmarshal(rest, &content); err != nil {
		return nil, err
	}
	if err := ValidateService(content.Service); err != nil {
		return nil, err
	}
	last := "" // which is no ID
	for _, s := range content.Instances {
		if s.ID <= last {
			return nil, fmt.Errorf("its instances are not in the order of their IDs: %q is behind %q", s.ID, last)
		}
		last = s.ID
		// An ID may be one that could not be registered here: see package etcd.
		inst := Instance{ID: "id", Service: content.Service, Addrs: s.Addrs}
		if err := inst.Validate(); err != nil {
			return nil, err
		}
	}
	return &content, nil
}
