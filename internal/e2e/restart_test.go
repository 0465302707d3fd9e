package e2e_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"google.golang.org/grpc"
)

// Five server processes are replaced one after the other under constant load,
// without retries: no call fails, unary or stream, over their local sockets and
// over TCP. MICRO_SOAK, a duration, goes on until 100,000 calls were made.
func TestRollingRestart(t *testing.T) {
	for name, env := range map[string][]string{"local sockets": nil, "TCP": {childTCP + "=1"}} {
		t.Run(name, func(t *testing.T) { rollingRestart(t, env) })
	}
}

func rollingRestart(t *testing.T, env []string) {
	etcd := startEtcd(t)
	fleet := make([]*process, 5)
	for n := range fleet {
		fleet[n] = startProcess(t, etcd.URL(), fmt.Sprintf("server-%d-0", n), env...)
	}
	l := startLoad(t, etcd.URL(), true, patience)
	l.more(t, 100)
	rounds, least := 0, int64(1)
	if os.Getenv("MICRO_SOAK") != "" {
		least = 100_000
	}
	for ; rounds < 1 || l.calls.Load() < least; rounds++ {
		for n, old := range fleet {
			fleet[n] = startProcess(t, etcd.URL(), fmt.Sprintf("server-%d-%d", n, rounds+1), env...)
			old.terminate()
			l.more(t, 100)
		}
	}
	l.stop()
	for _, p := range fleet {
		p.terminate()
	}
	t.Logf("%d restarts, %d calls, %d failed", rounds*len(fleet), l.calls.Load(), l.failed.Load())
	if l.failed.Load() > 0 {
		t.Errorf("%d of %d calls failed", l.failed.Load(), l.calls.Load())
	}
	// pick_first tries TCP, too, when a busy machine takes 250 ms for a handshake.
	if got, has := l.local.Load(), env == nil && runtime.GOOS == "linux"; has && got < l.calls.Load()/2 || !has && got > 0 {
		t.Errorf("%d of %d calls went over a local socket", got, l.calls.Load())
	}
}

// One of three servers is killed with -9. Calls that may be sent again, and
// whose service config says so, do not fail; of others only those fail that
// were on the wire.
func TestKill(t *testing.T) {
	etcd := startEtcd(t)
	for _, test := range []struct {
		name string
		opts []grpc.DialOption
		most int // failures for each caller
	}{
		{"without retries", nil, 1},
		{"with retries", []grpc.DialOption{grpc.WithDefaultServiceConfig(retrying)}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var fleet []*process
			for n := range 3 {
				fleet = append(fleet, startProcess(t, etcd.URL(), fmt.Sprintf("server-%d", n)))
			}
			l := startLoad(t, etcd.URL(), false, patience, test.opts...)
			l.more(t, 200)
			fleet[0].kill()
			l.more(t, 2000)
			l.stop()
			t.Logf("%d of %d calls failed; %d could be on the wire", l.failed.Load(), l.calls.Load(), l.callers)
			if most := int64(test.most * l.callers); l.failed.Load() > most {
				t.Errorf("%d calls failed, want at most %d", l.failed.Load(), most)
			}
			fleet[1].terminate()
			fleet[2].terminate()
		})
	}
}
