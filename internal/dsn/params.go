package dsn

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Params takes the parameters of a URL one by one, and keeps what is wrong until
// End.
type Params struct {
	pkg    string // which errors begin with
	values url.Values
	known  []string
	errs   []error
}

// NewParams returns those of u.
func NewParams(pkg string, u *url.URL) *Params {
	p := &Params{pkg: pkg}
	var err error
	if p.values, err = url.ParseQuery(u.RawQuery); err != nil {
		p.Failf("parameters: %w", err)
	}
	return p
}

// Text returns a parameter, or "".
func (p *Params) Text(name string) string {
	p.known = append(p.known, name)
	return p.values.Get(name)
}

// Number calls set if the parameter is there, and a number.
func (p *Params) Number(name string, set func(int)) {
	text := p.Text(name)
	if text == "" {
		return
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		p.Failf("%s=%s: give a number", name, text)
		return
	}
	set(n)
}

// Duration calls set if the parameter is there, and a duration.
func (p *Params) Duration(name string, set func(time.Duration)) {
	text := p.Text(name)
	if text == "" {
		return
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		p.Failf("%s=%s: give a duration, like 10s", name, text)
		return
	}
	set(d)
}

// File calls set if the parameter is there, and names a file that is there, too.
func (p *Params) File(name string, set func(path string)) {
	text := p.Text(name)
	if text == "" {
		return
	}
	if _, err := os.Stat(text); err != nil {
		p.Failf("%s: %w", name, err)
		return
	}
	set(text)
}

// Needs reports a parameter that is there without what it goes with.
func (p *Params) Needs(name, what string) {
	if p.Text(name) != "" {
		p.Failf("%s needs %s", name, what)
	}
}

// Failf keeps an error.
func (p *Params) Failf(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(p.pkg+": "+format, args...))
}

// End reports what was wrong, and the parameters that nobody asked for.
func (p *Params) End() error {
	slices.Sort(p.known)
	p.known = slices.Compact(p.known)
	for name, values := range p.values {
		switch {
		case !slices.Contains(p.known, name):
			p.Failf("unknown parameter %q: known are %s", name, strings.Join(p.known, ", "))
		case len(values) > 1:
			p.Failf("parameter %q is given %d times", name, len(values))
		case values[0] == "":
			p.Failf("parameter %q is empty: leave it out, or give it a value", name)
		}
	}
	return errors.Join(p.errs...)
}
