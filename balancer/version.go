package balancer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/grpc-micro/micro/resolver"
)

// VersionRange keeps the instances whose version is in a range of semantic
// versions, with or without a leading v:
//
//	>=1.4, !=1.5.2, <2     all of these must hold; the comma may be a space
//	^1.4.2                 compatible: >=1.4.2 <2.0.0 (^0.4.2: <0.5.0)
//	~1.4.2                 the same minor version: >=1.4.2 <1.5.0
//	1.4, 1.4.x, 1.4.*      any patch of it; 1: any minor version
//	^1 || >=3.2            either
//
// A pre-release (1.5.0-rc.1) is in a range only if that names one ("^1.5.0-rc").
// An instance whose version is no semantic one is in no range.
func VersionRange(text string) (Filter, error) {
	var either []Filter
	for part := range strings.SplitSeq(text, "||") {
		f, err := parseRange(part)
		if err != nil {
			return nil, fmt.Errorf("balancer: version range %q: %w", text, err)
		}
		either = append(either, f)
	}
	return Or(either...), nil
}

// parseRange makes comparisons of a range, so that equal ranges are equal.
func parseRange(text string) (Filter, error) {
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' })
	var all []Filter
	released, operator := true, ""
	for _, field := range fields {
		rest := strings.TrimLeft(field, "<>=!^~")
		operator += field[:len(field)-len(rest)]
		if rest == "" { // "> 1.2"
			continue
		}
		both, err := parseComparison(operator, rest)
		if err != nil {
			return nil, err
		}
		released = released && !strings.Contains(rest, "-")
		all = append(all, both...)
		operator = ""
	}
	switch {
	case operator != "":
		return nil, fmt.Errorf("there is no version after %q", operator)
	case len(all) == 0:
		return nil, errors.New(`it is empty: write one like ">=1.4 <2"`)
	case released:
		all = append(all, release{})
	}
	return And(all...), nil
}

// parseComparison returns what an operator and a version mean.
func parseComparison(operator, version string) ([]Filter, error) {
	low, parts, err := parsePartial(version)
	if err != nil {
		return nil, err
	}
	next := func(part int) string { // the first version that has another major, minor or patch
		n := strings.SplitN(strings.TrimPrefix(strings.SplitN(low, "-", 2)[0], "v"), ".", 3)
		number, _ := strconv.ParseUint(n[part], 10, 64) // parsePartial has seen it
		n[part] = strconv.FormatUint(number+1, 10)
		for ; part < 2; part++ {
			n[part+1] = "0"
		}
		return "v" + strings.Join(n, ".")
	}
	from, below := compare{">=", low}, func(part int) Filter { return compare{"<", next(part) + "-0"} }
	switch operator {
	case "", "=", "==":
		if parts == 3 {
			return []Filter{compare{"=", low}}, nil
		}
		return []Filter{from, below(parts - 1)}, nil
	case "!=":
		if parts == 3 {
			return []Filter{Not(compare{"=", low})}, nil
		}
		return []Filter{Not(And(from, below(parts-1)))}, nil
	case ">=":
		return []Filter{from}, nil
	case "<":
		return []Filter{compare{"<", low}}, nil
	case ">", "<=":
		beyond := Filter(compare{">", low})
		if parts < 3 {
			beyond = compare{">=", next(parts - 1)}
		}
		if operator == "<=" {
			return []Filter{Not(beyond)}, nil
		}
		return []Filter{beyond}, nil
	case "~":
		return []Filter{from, below(min(parts-1, 1))}, nil
	case "^":
		part := 0
		for part < parts-1 && strings.HasPrefix(strings.TrimPrefix(low, "v")+".", strings.Repeat("0.", part+1)) {
			part++
		}
		return []Filter{from, below(part)}, nil
	}
	return nil, fmt.Errorf("operator %q is not known: use = != < <= > >= ^ ~", operator)
}

// parsePartial returns the lowest version that is meant, and how many of its
// three numbers were given.
func parsePartial(version string) (low string, parts int, err error) {
	numbers := strings.Split(strings.TrimPrefix(version, "v"), ".")
	for len(numbers) > 1 && (numbers[len(numbers)-1] == "x" || numbers[len(numbers)-1] == "*") {
		numbers = numbers[:len(numbers)-1]
	}
	for _, n := range numbers {
		if len(n)-len(strings.TrimLeft(n, "0123456789")) > 18 { // more is no uint64
			return "", 0, fmt.Errorf("%q has a number of more than 18 digits", version)
		}
	}
	low = "v" + strings.Join(numbers, ".")
	if !semver.IsValid(low) {
		return "", 0, fmt.Errorf("%q is no semantic version", version)
	}
	return semver.Canonical(low), min(len(numbers), 3), nil
}

// compare keeps versions that stand in a relation to one.
type compare struct{ operator, version string }

func (f compare) match(inst *resolver.Instance) bool {
	v := canonical(inst.Version)
	if v == "" {
		return false
	}
	c := semver.Compare(v, f.version)
	switch f.operator {
	case "<":
		return c < 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return c == 0
}

func (f compare) String() string { return "version " + f.operator + strings.TrimPrefix(f.version, "v") }

// release keeps semantic versions that are no pre-releases.
type release struct{}

func (release) match(inst *resolver.Instance) bool {
	v := canonical(inst.Version)
	return v != "" && semver.Prerelease(v) == ""
}

func (release) String() string { return "a released version" }

// canonical returns a version as package semver wants it, or "".
func canonical(version string) string {
	if !strings.HasPrefix(version, "v") {
		version = "v" + version
	}
	return semver.Canonical(version)
}
