package resolver

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Instance is one running copy of a service, as the registry knows it.
//
// An Instance is immutable once it was handed to a Registrar or yielded by a
// Discovery: the same pointer means "unchanged", and that is what makes one
// change among 10,000 instances cheap. Change a Clone.
type Instance struct {
	ID      string            // unique within Service
	Service string            // a service name or a proto full name: "greeter", "greeter.v1.Greeter"
	Version string            // printable text; semantic versions let filters match ranges
	Zone    string            // where it runs: "eu-west-1a"
	Addrs   []string          // host:port or unix:///path; Addrs[0] is the primary, the rest are the same instance by other networks
	Weight  uint32            // relative share of calls; 0 means 1
	Labels  map[string]string // free: {"lane": "canary"}

	// Local is a unix socket for clients on the instance's host, "HOST/NAME" as
	// ListenLocal returns it, or empty. NewBuilder's resolver dials it before
	// Addrs; for everyone else it does not exist.
	Local string

	// Draining says that the instance still serves, and should be given no
	// new call while another instance can take it.
	Draining bool
}

// Clone returns a deep copy that the caller may change.
func (i *Instance) Clone() *Instance {
	c := *i
	c.Addrs = slices.Clone(i.Addrs)
	c.Labels = maps.Clone(i.Labels)
	return &c
}

// Equal reports whether both describe the same instance in the same state. It
// compares labels and addresses too, so it is for tests and for registries
// that keep the old pointer of what did not change; everyone else compares
// pointers.
func (i *Instance) Equal(o *Instance) bool {
	if i == o {
		return true
	}
	if i == nil || o == nil {
		return false
	}
	return i.ID == o.ID && i.Service == o.Service && i.Version == o.Version && i.Zone == o.Zone && i.Local == o.Local &&
		i.Weight == o.Weight && i.Draining == o.Draining &&
		slices.Equal(i.Addrs, o.Addrs) && maps.Equal(i.Labels, o.Labels)
}

// Validate reports the first thing that keeps the instance from being
// registered, with the field, its value and what is allowed instead.
func (i *Instance) Validate() error {
	if err := ValidateService(i.Service); err != nil {
		return err
	}
	if err := validateName("instance ID", i.ID); err != nil {
		return err
	}
	if len(i.Addrs) == 0 {
		return fmt.Errorf("resolver: instance %s of %s has no address: set at least one host:port", i.ID, i.Service)
	}
	for _, addr := range i.Addrs {
		if err := validateAddr(addr); err != nil {
			return fmt.Errorf("resolver: instance %s of %s: %w", i.ID, i.Service, err)
		}
	}
	return i.validateTexts()
}

// validateTexts checks what filters compare and logs show.
func (i *Instance) validateTexts() error {
	for _, text := range []struct{ what, value string }{{"version", i.Version}, {"zone", i.Zone}, {"local socket", i.Local}} {
		if err := validateText(text.value); err != nil {
			return fmt.Errorf("resolver: instance %s of %s: %s %.40q %w", i.ID, i.Service, text.what, text.value, err)
		}
	}
	for key, value := range i.Labels {
		err := validateText(key)
		switch {
		case err != nil:
		case key == "":
			err = errors.New("has no name: give the label one")
		case !utf8.ValidString(value):
			err = errors.New("is not UTF-8")
		case len(value) > maxLabel:
			err = fmt.Errorf("has %d bytes: at most %d are allowed", len(value), maxLabel)
		}
		if err != nil {
			return fmt.Errorf("resolver: instance %s of %s: label %.40q=%.40q %w", i.ID, i.Service, key, value, err)
		}
	}
	return nil
}

func validateText(text string) error {
	switch {
	case len(text) > maxName:
		return fmt.Errorf("has %d bytes: at most %d are allowed", len(text), maxName)
	case !utf8.ValidString(text):
		return errors.New("is not UTF-8")
	case strings.ContainsFunc(text, unicode.IsControl):
		return errors.New("has a control character: use printable text")
	}
	return nil
}

// ValidateInstances reports the first thing that keeps insts from being
// registered together. Registrars call it first, in Register and in Update.
func ValidateInstances(insts ...*Instance) error {
	if len(insts) == 0 {
		return errors.New("resolver: no instance to register: pass at least one")
	}
	seen := make(map[[2]string]bool, len(insts))
	for _, inst := range insts {
		if inst == nil {
			return errors.New("resolver: a nil instance cannot be registered")
		}
		if err := inst.Validate(); err != nil {
			return err
		}
		id := [2]string{inst.Service, inst.ID}
		if seen[id] {
			return fmt.Errorf("resolver: instance %s of %s is there twice: one call registers each once", inst.ID, inst.Service)
		}
		seen[id] = true
	}
	return nil
}

// ValidateService reports whether name can name a service: 1 to 255 ASCII
// letters, digits, '.', '_' and '-', starting with a letter or digit. Every
// proto full name is one.
func ValidateService(name string) error { return validateName("service name", name) }

const (
	maxName  = 255
	maxLabel = 4 << 10 // of a value; every client of the service holds it
)

func validateName(what, name string) error {
	if name == "" {
		return fmt.Errorf("resolver: the %s is empty: use letters, digits, '.', '_' and '-'", what)
	}
	if len(name) > maxName {
		return fmt.Errorf("resolver: %s %.20q… has %d bytes: at most %d are allowed", what, name, len(name), maxName)
	}
	for n, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if letter || n > 0 && strings.ContainsRune("._-", r) {
			continue
		}
		return fmt.Errorf("resolver: %s %q has %q at position %d: use letters, digits, '.', '_' and '-', with a letter or digit first", what, name, r, n)
	}
	return nil
}

// validateAddr refuses what a client could never dial; whether an address
// can be reached from elsewhere (an unspecified one, a loopback one) is judged
// by who knows the network: package micro.
func validateAddr(addr string) error {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		if strings.TrimPrefix(path, "//") == "" {
			return fmt.Errorf("address %q has no path: use unix:///path/to.sock", addr)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil:
		return fmt.Errorf("address %q is not host:port: %w", addr, err)
	case host == "":
		return fmt.Errorf("address %q has no host: clients need one that they can dial", addr)
	case port == "" || port == "0":
		return fmt.Errorf("address %q has no port: clients need one that they can dial", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("address %q: the port is no number from 1 to 65535", addr)
	}
	return nil
}
