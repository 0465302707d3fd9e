package mdns_test

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/wait"
	"github.com/grpc-micro/micro/resolver"
	"github.com/grpc-micro/micro/resolver/mdns"
)

// never is a time after every test.
const never = time.Hour

// TestChangesAreAnnounced: nobody asks, and all is seen.
func TestChangesAreAnnounced(t *testing.T) {
	t.Parallel()
	at := domain()
	w := watch(t, open(t, at, mdns.WithQueryInterval(never)))
	w.wait("")
	r := open(t, at, mdns.WithTTL(never))
	reg := register(t, r, instance("a"))
	w.wait("a")
	drained := instance("a")
	drained.Draining = true
	if err := reg.Update(deadline(t), drained); err != nil {
		t.Fatal(err)
	}
	w.wait("a draining")
	if err := reg.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	w.wait("")
}

// TestLateComer sees with its first snapshot what has long been there.
func TestLateComer(t *testing.T) {
	t.Parallel()
	at := domain()
	want := make([]string, 0, 60)
	for k := range 3 {
		r := open(t, at, mdns.WithTTL(never))
		insts := make([]*resolver.Instance, 20)
		for i := range insts {
			insts[i] = instance(fmt.Sprintf("id-%d-%02d", k, i))
			want = append(want, insts[i].ID)
		}
		register(t, r, insts...)
	}
	watch(t, open(t, at, mdns.WithQueryInterval(never))).wait(strings.Join(want, ", "))
}

// TestNamesThatDNSCannotTellApart are told apart all the same.
func TestNamesThatDNSCannotTellApart(t *testing.T) {
	t.Parallel()
	at := domain()
	w := watch(t, open(t, at))
	upper := instance("A")
	upper.Service = "SVC"
	register(t, open(t, at), upper)
	r := open(t, at)
	register(t, r, instance("a"), instance("A"))
	w.wait("A, a")
	names, err := r.Services(deadline(t))
	if got := fmt.Sprint(names); got != "[SVC svc]" {
		t.Errorf("Services: %s, %v", got, err)
	}
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	at := domain()
	w := watch(t, open(t, at))
	version := func(v string) *resolver.Instance {
		inst := instance("a")
		inst.Version = v
		return inst
	}
	old, restarted := open(t, at), open(t, at)
	oldReg := register(t, old, version("v1"))
	w.wait("a@v1")
	newReg := register(t, restarted, version("v2"))
	w.wait("a@v2")

	late := version("v1")
	late.Draining = true
	seen := watch(t, old) // and so by who is to be told that it was taken over
	seen.wait("a@v2")
	mention(t, "Update", oldReg.Update(deadline(t), late), "a of svc was taken over by a-", "another ID")
	select {
	case <-oldReg.Lost():
		t.Error("taken over is not lost: the two would fight")
	default:
	}

	third := register(t, open(t, at), instance("marker")) // all before it was seen
	w.wait("a@v2, marker")
	if err := newReg.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	w.wait("a@v1, marker") // it is still there, and nobody has taken it over
	if err := oldReg.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	w.wait("marker")
	if err := third.Deregister(deadline(t)); err != nil {
		t.Fatal(err)
	}
	w.wait("")
}

// TestLateGoodbye is that of an old process, after a new one has its name.
func TestLateGoodbye(t *testing.T) {
	t.Parallel()
	at := domain()
	w := watch(t, open(t, at))
	old := register(t, open(t, at), instance("a"))
	w.wait("a")
	r := open(t, at)
	restarted := instance("a")
	restarted.Version = "v2"
	register(t, r, restarted)
	w.wait("a@v2")
	for range 2 { // the second time it does nothing
		if err := old.Deregister(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	register(t, r, instance("marker"))
	w.wait("a@v2, marker")
}

// TestHostDies has a process killed. What it announced goes when its time to live
// is over, and what others announce for no longer stays.
func TestHostDies(t *testing.T) {
	t.Parallel()
	at := domain()
	kill := child(t, at, "dead")
	alive := open(t, at, mdns.WithTTL(childTTL))
	register(t, alive, instance("alive"))
	w := watch(t, open(t, at, mdns.WithQueryInterval(never))) // asks all the same, in time
	w.wait("alive, dead")
	began := time.Now()
	kill()
	wait.Until(t, "an end of the dead one", func() bool {
		got := w.String()
		if !strings.HasPrefix(got, "alive") {
			t.Fatalf("the one that lives is gone: %q", got)
		}
		return got == "alive"
	})
	if took := time.Since(began); took < 100*time.Millisecond || took > childTTL+9*time.Second {
		t.Errorf("it was seen for %v, want about %v", took, childTTL)
	}
}

// TestNetworkGoes and comes back, with the watches told, and nothing forgotten.
func TestNetworkGoes(t *testing.T) {
	t.Parallel()
	at := domain()
	var interfaces atomic.Pointer[[]net.Interface]
	up, down := []net.Interface{loopback(t, "eth0", wired)}, []net.Interface{}
	interfaces.Store(&up)
	r, err := mdns.NewOn(func() ([]net.Interface, error) { return *interfaces.Load(), nil },
		mdns.WithDomain(at), mdns.WithTTL(never), mdns.WithQueryInterval(never), mdns.WithLogger(quiet), mdns.Impatient)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	peer := open(t, at, mdns.WithQueryInterval(never))
	theirs := watch(t, peer)
	reg := register(t, r, instance("here"))
	gone := register(t, r, instance("leaving"))
	theirs.wait("here, leaving")
	peers := register(t, peer, instance("peer"))
	ours := watch(t, r)
	ours.wait("here, leaving, peer")

	interfaces.Store(&down)
	wait.Until(t, "the watch to end", func() bool {
		return strings.Contains(ours.String(), "mdns: watch svc: mdns: no network interface is up")
	})
	if got := ours.String(); !strings.HasPrefix(got, "here, leaving, peer") {
		t.Errorf("before it ended, the watch has seen %q: an outage takes nobody away", got)
	}
	drained := instance("here")
	drained.Draining = true
	mention(t, "Update", reg.Update(deadline(t), drained), "mdns: update here of svc: ", "no network interface")
	mention(t, "Deregister", gone.Deregister(deadline(t)), "mdns: deregister leaving of svc, which expires in 1h0m0s: ", "no network interface")
	moved := instance("peer")
	moved.Version = "v2"
	if err := peers.Update(deadline(t), moved); err != nil {
		t.Fatal(err)
	}

	interfaces.Store(&up)
	theirs.wait("here draining, leaving, peer@v2") // what was to be said is said
	wait.Until(t, "the goodbye", func() bool { return gone.Deregister(deadline(t)) == nil })
	theirs.wait("here draining, peer@v2")
	watch(t, r).wait("here draining, peer@v2")
}

// TestFlood has more announced than anyone keeps.
func TestFlood(t *testing.T) {
	t.Parallel()
	at := domain()
	r := open(t, at)
	w := watch(t, r)
	r.Flood(mdns.MaxHeard)
	crowd := open(t, at)
	register(t, crowd, instance("one-too-many"))
	wait.Until(t, "the surplus to be counted", func() bool { return r.Unreadable() > 0 })
	register(t, r, instance("own")) // has its place
	w.wait("own")
}
