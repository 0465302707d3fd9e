package balancer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/grpc-micro/micro/resolver"
)

// Explanation says where a call would go, and why nowhere else.
type Explanation struct {
	Service   string // that the channel calls
	Policy    string
	Method    string
	Filter    Filter   // what an instance must have; nil: nothing
	Tiers     []Filter // nil: there are none
	Err       error    // what the call fails with, or waits with; nil: it has somewhere to go
	Instances []Candidate
}

// Candidate is an instance in an Explanation.
type Candidate struct {
	Instance  *resolver.Instance
	Addresses []grpcresolver.Address // as they are tried: a local socket (resolver.IsLocal) comes first
	State     connectivity.State
	Dropped   string // why the call does not go there; empty: it may

	Weight   uint32
	Ejected  time.Duration // for how long it still is; 0: it is not
	Share    float64       // of its calls, while it starts slowly; 1: all
	InFlight int64
	Latency  time.Duration
	Picks    uint64
	Failures int32 // in a row, if there is ejection
}

// Explain asks conn where a call of this method ("/package.Service/Method") with
// this context would go. Nothing is sent, but interceptors see a call, which is
// how their filters and tiers count, too; it ends with Canceled. Explain waits
// for the resolver's first answer, and no longer than ctx.
//
// Calls in flight, latency and picks are those of this channel since its policy
// has counted them. Policies that need none count nothing until Explain was
// called once, and from then on cost as much as those that do.
//
// The channel's policy must be one of this package.
func Explain(ctx context.Context, conn grpc.ClientConnInterface, method string) (*Explanation, error) {
	x := &explainer{method: method}
	if err := run(ctx, conn, method, x); err != nil {
		return nil, fmt.Errorf("balancer: explain %s: %w", method, err)
	}
	return x.found, nil
}

type explainer struct {
	method string
	found  *Explanation
}

func (x *explainer) look(a *answer) error {
	p := a.picker
	x.found = &Explanation{
		Service: p.service, Policy: p.set.builder.name, Method: x.method, Filter: a.keep,
	}
	if a.pick == nil {
		x.found.Err = a.refusal()
	}
	if !a.untiered() {
		x.found.Tiers = a.tiers
	}
	usable := make(map[*Endpoint]bool, len(a.usable))
	for _, e := range a.usable {
		usable[e] = true
	}
	p.set.count()
	now := time.Now()
	for _, e := range p.endpoints {
		c := Candidate{
			Instance: e.Instance(), Addresses: e.dialed(), State: e.state(),
			Weight: uint32(e.weight()), Ejected: max(0, p.set.ejectedFor(e, now)), Share: e.share(p.config.slowStart),
			InFlight: e.InFlight(), Latency: e.Latency(), Picks: e.picks.Load(), Failures: e.record.inARow.Load(),
		}
		if !usable[e] {
			c.Dropped = a.why(e)
		}
		x.found.Instances = append(x.found.Instances, c)
	}
	return errLooked
}

// why returns why a call does not go to an endpoint.
func (a *answer) why(e *Endpoint) string {
	inst := e.Instance()
	if f := drops(a.keep, inst); f != nil {
		return "not " + f.String()
	}
	tier := a.tierOf(e)
	failure := e.failure()
	switch {
	case tier < 0:
		return "in no tier"
	case inst.Draining:
		return "drains"
	case e.ejected.Load():
		return "ejected"
	case !e.joined.Load():
		return "not in the client's subset"
	case failure != nil:
		return failure.Error()
	case e.state() != connectivity.Ready:
		return "not connected yet"
	case len(a.usable) > 0 && tier > a.tierOf(a.usable[0]):
		return "in a later tier"
	case a.picker.config.zone != nil:
		return "in another zone"
	}
	return "connected just now"
}

// drops returns the part of a filter that does not keep an instance, or nil.
func drops(f Filter, inst *resolver.Instance) Filter {
	if f == nil || f.match(inst) {
		return nil
	}
	if and, ok := f.(andFilter); ok {
		if part := drops(and.a, inst); part != nil {
			return part
		}
		return drops(and.b, inst)
	}
	return f
}

func (e *Endpoint) dialed() []grpcresolver.Address {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.addresses)
}

// addresses is how a table has them; the name of a local socket says nothing.
func (c *Candidate) addresses() string {
	all := make([]string, len(c.Addresses))
	for i, a := range c.Addresses {
		if all[i] = a.Addr; resolver.IsLocal(a) {
			all[i] = "local socket"
		}
	}
	return strings.Join(all, ", ")
}

// count begins to track everything, for explanations.
func (b *endpointSet) count() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.counting && !b.closed {
		b.counting = true
		b.publish()
	}
}

func (b *endpointSet) ejectedFor(e *Endpoint, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !e.ejected.Load() {
		return 0
	}
	return e.ejectedUntil.Sub(now)
}

// String returns the explanation as a table.
func (x *Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s by %s", x.Method, x.Service, x.Policy)
	if x.Filter != nil {
		fmt.Fprintf(&b, ", %v", x.Filter)
	}
	if x.Tiers != nil {
		fmt.Fprintf(&b, ", %v", newTiers(x.Tiers))
	}
	b.WriteByte('\n')
	if x.Err != nil {
		fmt.Fprintf(&b, "error: %v\n", x.Err)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "INSTANCE\tADDRESSES\tVERSION\tZONE\tSTATE\tWEIGHT\tSHARE\tIN FLIGHT\tLATENCY\tPICKS\tFAILURES\tEJECTED\tDROPPED")
	for _, c := range x.Instances {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\t%d\t%.0f%%\t%d\t%v\t%d\t%d\t%v\t%s\n", c.Instance.ID, c.addresses(), c.Instance.Version, c.Instance.Zone,
			c.State, c.Weight, 100*c.Share, c.InFlight, c.Latency, c.Picks, c.Failures, c.Ejected.Round(time.Millisecond), c.Dropped)
	}
	_ = w.Flush() // a Builder takes everything
	return b.String()
}
