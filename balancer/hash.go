package balancer

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/metadata"
)

func init() {
	Register(Hash, parseHash, trackAlso(trackInFlight|trackTotal), func(b *builder) { b.keyed = true })
}

const (
	// hashPoints and hashProbes make the shares of instances even: each instance
	// is at so many points of a circle, and each key looks from so many places
	// for the nearest point (multi-probe consistent hashing). No
	// instance has more than a quarter above its share, which takes a ring with
	// one look a hundred points an instance.
	hashPoints = 8
	hashProbes = 5

	// hashTries bounds how many places of its own a key looks for room in, before
	// it takes what comes next on the circle.
	hashTries = 8

	// hashRoom is how many calls in flight are never too many: two calls with
	// the same key at once should still meet.
	hashRoom = 4
)

// parseHash takes header, whose value in the outgoing metadata is the key of a
// call that has none by WithHashKey, and loadFactor: how many times the mean of
// calls in flight an instance may have before a key moves on, from 1 to 100, by
// default 1.25.
func parseHash(raw json.RawMessage) (Policy, error) {
	const least, most = 1, 100
	c := struct {
		Header     string  `json:"header"`
		LoadFactor float64 `json:"loadFactor"`
	}{LoadFactor: 1.25}
	if err := ParseStrict(raw, &c); err != nil {
		return nil, err
	}
	if !(c.LoadFactor >= least && c.LoadFactor <= most) {
		return nil, fmt.Errorf("loadFactor is %v: give one from %d to %d", c.LoadFactor, least, most)
	}
	c.Header = strings.ToLower(c.Header)
	if strings.HasSuffix(c.Header, "-bin") || strings.HasPrefix(c.Header, ":") || strings.HasPrefix(c.Header, "grpc-") {
		return nil, fmt.Errorf("header is %q: give one that is text and not grpc's own", c.Header)
	}
	return func(ready []*Endpoint) Picker {
		circle := newCircle(ready)
		return func(info grpcbalancer.PickInfo) *Endpoint {
			return circle.bounded(keyOf(info, c.Header), c.LoadFactor)
		}
	}, nil
}

// keyOf returns the hash of a call's key. A call without one may go anywhere.
func keyOf(info grpcbalancer.PickInfo, header string) uint64 {
	if c := fromContext(info.Ctx); c != nil && c.hashed {
		return c.hash
	}
	if header != "" {
		md, _ := metadata.FromOutgoingContext(info.Ctx)
		if values := md.Get(header); len(values) > 0 {
			return hash(strings.Join(values, ","))
		}
	}
	return rand.Uint64() //nolint:gosec // spreads load, hides nothing
}

// circle holds instances by the hashes of their IDs. Every client has the same,
// and a key that finds its nearest point goes on finding it whoever else comes
// or goes, unless that one is nearer.
type circle struct {
	endpoints []*Endpoint
	owners    []uint32 // of the points, in their order
	points    *index
}

func newCircle(endpoints []*Endpoint) *circle {
	type point struct {
		at    uint64
		owner uint32
	}
	points := make([]point, 0, hashPoints*len(endpoints))
	for i, e := range endpoints {
		id := hash(e.Instance().ID)
		for n := range uint64(hashPoints) {
			points = append(points, point{mix(id + n*golden), uint32(i)})
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	c := &circle{endpoints: endpoints, owners: make([]uint32, len(points))}
	sorted := make([]uint64, len(points))
	for i, p := range points {
		sorted[i], c.owners[i] = p.at, p.owner
	}
	c.points = newIndex(sorted)
	return c
}

// nearest returns the point that is next after one of the key's places.
func (c *circle) nearest(key uint64) int {
	best, distance := 0, uint64(math.MaxUint64)
	for range hashProbes {
		key = mix(key)
		at := c.points.after(key)
		if c.points.sorted[at] <= key {
			at = 0 // round
		}
		if d := c.points.sorted[at] - key; d < distance {
			best, distance = at, d
		}
	}
	return best
}

// bounded returns the first of the key's endpoints that has room: less than
// factor times the mean of the calls in flight. The order is the key's own, so
// that what does not fit goes to the same second one, as long as it fits there.
func (c *circle) bounded(key uint64, factor float64) *Endpoint {
	total := float64(c.endpoints[0].set.inFlight.Load() + 1)
	at := 0
	for range hashTries {
		at = c.nearest(key)
		if e := c.endpoints[c.owners[at]]; c.hasRoom(e, factor*total) {
			return e
		}
		key = mix(key ^ golden)
	}
	for range c.owners { // some have no more than the mean
		if at++; at == len(c.owners) {
			at = 0
		}
		if e := c.endpoints[c.owners[at]]; c.hasRoom(e, factor*total) {
			return e
		}
	}
	return c.endpoints[c.owners[at]]
}

func (c *circle) hasRoom(e *Endpoint, bound float64) bool {
	n := e.InFlight()
	return n < hashRoom || float64(n*int64(len(c.endpoints))) < bound
}

// hash is FNV-1a, finished by mix. It must be the same in every process.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the end of splitmix64: every bit of h decides on every bit of it.
func mix(h uint64) uint64 {
	h += golden
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
