package etcd_test

import (
	"testing"
	"time"
)

// pass waits for time to pass, where that is what is tested.
func pass(d time.Duration) { <-time.After(d) }

func TestLeaderIsKilled(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	f := startFleet(t, c.endpoints(), c.endpoints(), 3)
	leader := c.leader()
	c.kill(leader)
	f.recovered("leader killed")
}

func TestQuorumIsLost(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	f := startFleet(t, c.endpoints(), c.endpoints(), 3)
	c.kill(0, 1)
	pass(shortTTL + time.Second)
	c.start(0, 1)
	f.recovered("two of three nodes killed for longer than the TTL")
}

func TestAllNodesAreDown(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	f := startFleet(t, c.endpoints(), c.endpoints(), 3)
	c.kill(c.all()...)
	pass(shortTTL + time.Second)
	c.start(c.all()...)
	f.recovered("all nodes killed for longer than the TTL")
}

func TestAllNodesAreWiped(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	f := startFleet(t, c.endpoints(), c.endpoints(), 3)
	c.kill(c.all()...)
	c.wipe(c.all()...)
	c.start(c.all()...)
	f.recovered("all nodes killed and their data wiped")
}

// Servers and client are cut off for longer than the TTL, while etcd lives on and
// ends their leases.
func TestPartition(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	proxy := newProxy(t, c.endpoints()[0])
	f := startFleet(t, c.endpoints(), []string{proxy.addr()}, 3)
	w := f.direct.watch()
	w.wait("s0, s1, s2")
	proxy.cut()
	w.wait("")
	proxy.heal()
	f.recovered("servers and client cut off until all leases had ended")
}

// The same, where the network loses every packet and no connection ends: they
// have to find out by themselves.
func TestSilentPartition(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	proxy := newProxy(t, c.endpoints()[0])
	f := startFleet(t, c.endpoints(), []string{proxy.addr()}, 3)
	proxy.mute()
	pass(15 * time.Second)
	proxy.heal()
	f.recovered("nothing heard of etcd for 15 s")
}

// While the client is cut off, a server goes and another comes, and etcd forgets
// the events of that.
func TestClientMissesCompactedChanges(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	f := startFleet(t, c.endpoints(), c.endpoints(), 2)
	proxy := newProxy(t, c.endpoints()[0])
	cut := openOn(t, connectAs(t, []string{proxy.addr()}), "p").watchAnew()
	cut.wait("s0, s1")
	proxy.cut()
	f.start("s2", c.endpoints())
	f.registered()
	res := get(t, f.direct.client, "p/svc/s2")
	if _, err := f.direct.client.Compact(deadline(t), res.Header.GetRevision()); err != nil {
		t.Fatal(err)
	}
	proxy.heal()
	cut.wait("s0, s1, s2")
	f.recovered("compacted while a client was cut off")
}

func TestEtcdIsSlow(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	proxy := newProxy(t, c.endpoints()[0])
	f := startFleetOf(t, 10*time.Second, c.endpoints(), []string{proxy.addr()}, 3)
	proxy.slow(200 * time.Millisecond)
	f.recovered("each packet slowed down by 200 ms")
	f.start("s3", []string{proxy.addr()})
	f.recovered("another server")
}
