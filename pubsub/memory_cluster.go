package pubsub

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
)

// cluster is what the Memory brokers of one name share.
type cluster struct {
	opts   memoryOptions
	topics atomic.Pointer[map[string]*topic] // replaced, never written

	mu sync.Mutex // guards the replacement of topics
}

func newCluster(o memoryOptions) *cluster {
	c := &cluster{opts: o}
	c.topics.Store(&map[string]*topic{})
	return c
}

// topic returns the topic of that name, and makes it if need be.
func (c *cluster) topic(name string) *topic {
	if t := (*c.topics.Load())[name]; t != nil {
		return t
	}
	return c.ensure(name, 0)
}

// ensure returns the topic of that name, and makes it if need be, with so many
// partitions, or as many as all have for 0.
func (c *cluster) ensure(name string, partitions int) *topic {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := (*c.topics.Load())[name]; t != nil {
		return t
	}
	o := c.opts
	if partitions > 0 {
		o.partitions = partitions
	}
	t := newTopic(name, o)
	topics := maps.Clone(*c.topics.Load())
	topics[name] = t
	c.topics.Store(&topics)
	return t
}

// named are the clusters that Open shares, each with the number of its users.
var named = struct {
	sync.Mutex

	byName map[string]*namedCluster
}{byName: make(map[string]*namedCluster)}

type namedCluster struct {
	*cluster

	users int
}

func openMemory(u *url.URL) (Broker, error) {
	name := u.Host
	if name == "" || u.Path != "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("write memory://name?partitions=8, with nothing else behind the name")
	}
	o, err := memoryParameters(u)
	if err != nil {
		return nil, err
	}
	named.Lock()
	defer named.Unlock()
	n := named.byName[name]
	switch {
	case n == nil:
		n = &namedCluster{cluster: newCluster(o)}
		named.byName[name] = n
	case u.RawQuery != "" && n.opts != o:
		return nil, fmt.Errorf("it is open with partitions=%d&retention=%d: open it with the same, or with none", n.opts.partitions, n.opts.retention)
	}
	n.users++
	return newMemory(n.cluster, func() {
		named.Lock()
		defer named.Unlock()
		if n.users--; n.users == 0 {
			delete(named.byName, name)
		}
	}), nil
}

func memoryParameters(u *url.URL) (memoryOptions, error) {
	o := memoryOptions{partitions: defaultPartitions, retention: defaultRetention}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return o, err
	}
	for key, values := range query {
		var to *int
		switch key {
		case "partitions":
			to = &o.partitions
		case "retention":
			to = &o.retention
		default:
			return o, fmt.Errorf("unknown parameter %q: there are partitions and retention", key)
		}
		n, err := strconv.Atoi(values[0])
		if err != nil || n < 1 || len(values) > 1 {
			return o, fmt.Errorf("parameter %s=%s: write one number, 1 or more", key, values[0])
		}
		*to = n
	}
	return o, nil
}
